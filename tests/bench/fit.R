# One fit by an R package: fit.R PACKAGE DATA FORMULA FOLDER. Writes FOLDER/out.csv with a column
# `seconds`, the time of the call alone, and one row of estimates or a row per draw.
args <- commandArgs(trailingOnly = TRUE)
data <- read.csv(args[2])
data$g <- factor(data$g)
formula <- as.formula(args[3])
suppressMessages(library(args[1], character.only = TRUE))
seconds <- function(expr) system.time(expr)[["elapsed"]]
if (args[1] == "lme4") {
  time <- seconds(fit <- suppressWarnings(suppressMessages(lmer(formula, data))))
  out <- data.frame(Intercept = fixef(fit)[[1]], x = fixef(fit)[[2]])
} else {
  if (args[1] == "rstanarm") {
    time <- seconds(fit <- stan_lmer(formula, data, chains = 4, cores = 2, seed = 1, refresh = 0))
    draws <- as.array(fit)
    names <- c("(Intercept)", "x", "sigma")
  } else {
    time <- seconds(fit <- brm(formula, data, chains = 4, cores = 2, seed = 1, refresh = 0, silent = 2))
    draws <- as.array(fit)
    names <- c("b_Intercept", "b_x", "sigma")
  }
  wide <- lapply(seq_len(dim(draws)[2]), function(chain) {
    data.frame(Intercept = draws[, chain, names[1]], x = draws[, chain, names[2]],
               sigma = draws[, chain, names[3]], chain = chain)
  })
  out <- do.call(rbind, wide)
}
out$seconds <- time
write.csv(out, file.path(args[4], "out.csv"), row.names = FALSE)
