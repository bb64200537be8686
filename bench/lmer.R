# Fixed effects by restricted maximum likelihood: lmer.R FOLDER FORMULA.
# Reads data.csv in FOLDER; writes fixed.csv: names, estimates, and whether the fit is singular.
args <- commandArgs(trailingOnly = TRUE)
if (!nzchar(system.file(package = "lme4"))) stop("there is no R package ", "lme4")
data <- read.csv(file.path(args[1], "data.csv"))
formula <- as.formula(args[2])
if (grepl("|", args[2], fixed = TRUE)) {
  for (name in grep("^g[0-9]+$", names(data), value = TRUE)) data[[name]] <- factor(data[[name]])
  # every row its own group is fine when only slopes vary
  control <- lme4::lmerControl(check.nobs.vs.nlev = "ignore", check.nobs.vs.nRE = "ignore")
  fit <- lme4::lmer(formula, data, control = control)
  fixed <- lme4::fixef(fit)
  boundary <- lme4::isSingular(fit)
} else {
  fixed <- coef(lm(formula, data))
  boundary <- FALSE
}
write.csv(data.frame(name = names(fixed), estimate = fixed, boundary = boundary),
          file.path(args[1], "fixed.csv"), row.names = FALSE)
