# One generalized fit by lme4: glmer.R FOLDER FORMULA FAMILY NODES WARM.
# Reads data.csv in FOLDER. Writes out.csv, one row of estimates, and calls.csv, the seconds of
# loading the package and of every call.
args <- commandArgs(trailingOnly = TRUE)
if (!nzchar(system.file(package = "lme4"))) stop("there is no R package ", "lme4")
data <- read.csv(file.path(args[1], "data.csv"))
data$g <- factor(data$g)
nodes <- as.integer(args[4])
warm <- as.numeric(args[5])

seconds <- function(expr) {
  begun <- proc.time()[["elapsed"]]
  force(expr)
  proc.time()[["elapsed"]] - begun
}
calls <- seconds(suppressMessages(library(lme4)))
fitting <- function() suppressWarnings(suppressMessages(
  glmer(as.formula(args[2]), data, family = args[3], nAGQ = nodes)))
calls <- c(calls, seconds(fit <- fitting()))
while (sum(calls[-1]) < warm && length(calls) < 12) calls <- c(calls, seconds(fit <- fitting()))
estimates <- as.list(fixef(fit))
names(estimates) <- sub("(Intercept)", "Intercept", names(estimates), fixed = TRUE)
estimates[["1|g_sigma"]] <- attr(VarCorr(fit)$g, "stddev")[[1]]
write.csv(data.frame(estimates, check.names = FALSE), file.path(args[1], "out.csv"),
          row.names = FALSE)
write.csv(data.frame(seconds = calls), file.path(args[1], "calls.csv"), row.names = FALSE)
