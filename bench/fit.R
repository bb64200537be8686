# One fit by an R package: fit.R PACKAGE FOLDER FORMULA SEED DRAWS TUNE CHAINS WARM.
# Reads data.csv and priors.csv in FOLDER. Writes out.csv, one row of estimates or one per draw
# (chain by chain), and calls.csv, the seconds of loading the package and of every call.
args <- commandArgs(trailingOnly = TRUE)
package <- args[1]
folder <- args[2]
numbers <- as.numeric(args[4:8])
data <- read.csv(file.path(folder, "data.csv"))
factors <- intersect(c("g", "a", "b", "c"), names(data))
data[factors] <- lapply(data[factors], factor)
formula <- as.formula(args[3])
priors <- read.csv(file.path(folder, "priors.csv"), row.names = "name")
if (!nzchar(system.file(package = package))) stop("there is no R package ", package)

seconds <- function(expr) {
  begun <- proc.time()[["elapsed"]]
  force(expr)
  proc.time()[["elapsed"]] - begun
}
calls <- seconds(suppressMessages(library(package, character.only = TRUE)))
effects <- if (any(grepl("^1[|]", rownames(priors)))) c("1", "x") else "x"
inside <- ifelse(effects == "1", "(Intercept)", effects)
sampler <- list(chains = numbers[4], iter = numbers[2] + numbers[3], warmup = numbers[3],
                seed = numbers[1], refresh = 0, cores = 2)

named <- function(coefficients, sds, cor, sigma) {
  names(sds) <- paste0(effects, "|g_sigma")
  out <- c(list(Intercept = coefficients[[1]], x = coefficients[[2]]), as.list(sds))
  if (length(effects) == 2) out[["cor(1,x|g)"]] <- cor
  data.frame(out, sigma = sigma, check.names = FALSE)
}

if (package == "lme4") {
  # every row its own group is fine when only slopes vary
  control <- lmerControl(check.nobs.vs.nlev = "ignore", check.nobs.vs.nRE = "ignore")
  fitting <- function() suppressWarnings(suppressMessages(lmer(formula, data, control = control)))
  estimates <- function(fit) {
    if (!"g" %in% factors) {
      sds <- vapply(factors, function(f) attr(VarCorr(fit)[[f]], "stddev")[[1]], 0)
      names(sds) <- paste0("1|", factors, "_sigma")
      return(data.frame(Intercept = fixef(fit)[[1]], x = fixef(fit)[[2]], as.list(sds),
                        sigma = sigma(fit), check.names = FALSE))
    }
    groups <- VarCorr(fit)$g
    sds <- attr(groups, "stddev")
    cor <- attr(groups, "correlation")
    named(fixef(fit), sds, if (length(sds) == 2) cor[2, 1], sigma(fit))
  }
} else if (package == "rstanarm") {
  normal_of <- function(name) normal(priors[name, "first"], priors[name, "second"])
  # LKJ as ours; the standard deviations have rstanarm's own prior, and a flat one is no Uniform
  aux <- if (priors["sigma", "family"] == "HalfStudentT") {
    student_t(priors["sigma", "first"], 0, priors["sigma", "second"])
  }
  eta <- if (length(effects) == 2) priors["cor(1,x|g)", "first"] else 1
  fitting <- function() suppressWarnings(do.call(stan_lmer, c(list(
    formula, data, prior = normal_of("x"), prior_intercept = normal_of("Intercept"),
    prior_aux = aux, prior_covariance = decov(regularization = eta)), sampler)))
  estimates <- function(fit) {
    draws <- as.array(fit)
    rows <- lapply(seq_len(dim(draws)[2]), function(chain) {
      of <- function(name) draws[, chain, name]
      covariance <- function(a, b) of(paste0("Sigma[g:", a, ",", b, "]"))
      sds <- lapply(inside, function(name) sqrt(covariance(name, name)))
      cor <- if (length(sds) == 2) covariance("x", "(Intercept)") / (sds[[1]] * sds[[2]])
      cbind(named(list(of("(Intercept)"), of("x")), sds, cor, of("sigma")), chain = chain)
    })
    do.call(rbind, rows)
  }
} else {
  words <- c(Normal = "normal(%g, %g)", HalfNormal = "normal(0, %g)", LKJ = "lkj(%g)",
             HalfStudentT = "student_t(%g, 0, %g)", Uniform = "uniform(%g, %g)")
  prior_of <- function(name, ...) {
    prior <- priors[name, ]
    numbers <- if (prior$family %in% c("HalfNormal", "LKJ")) list(prior$first)
               else list(prior$first, prior$second)
    bounds <- if (prior$family == "Uniform") list(lb = prior$first, ub = prior$second)
    text <- do.call(sprintf, c(words[[prior$family]], numbers))
    do.call(set_prior, c(list(text, ...), bounds))
  }
  given <- prior_of("Intercept", class = "Intercept") + prior_of("x", class = "b") +
    prior_of("sigma", class = "sigma")
  for (k in seq_along(effects)) {
    # bounds cannot be set for one standard deviation alone: all have the same in this bench
    name <- paste0(effects[k], "|g_sigma")
    given <- given + if (priors[name, "family"] == "Uniform") prior_of(name, class = "sd") else
      prior_of(name, class = "sd", group = "g", coef = sub("[()]", "", sub("[)]", "", inside[k])))
  }
  if (length(effects) == 2) given <- given + prior_of("cor(1,x|g)", class = "cor")
  fitting <- function() suppressMessages(do.call(brm, c(list(
    formula, data, prior = given, silent = 2), sampler)))
  estimates <- function(fit) {
    draws <- as.array(fit)
    rows <- lapply(seq_len(dim(draws)[2]), function(chain) {
      of <- function(name) draws[, chain, name]
      columns <- ifelse(effects == "1", "Intercept", effects)
      sds <- lapply(columns, function(name) of(paste0("sd_g__", name)))
      cor <- if (length(sds) == 2) of("cor_g__Intercept__x")
      cbind(named(list(of("b_Intercept"), of("b_x")), sds, cor, of("sigma")), chain = chain)
    })
    do.call(rbind, rows)
  }
}

calls <- c(calls, seconds(fit <- fitting()))
while (package == "lme4" && sum(calls[-1]) < numbers[5] && length(calls) < 12) {
  calls <- c(calls, seconds(fit <- fitting()))
}
write.csv(estimates(fit), file.path(folder, "out.csv"), row.names = FALSE)
write.csv(data.frame(seconds = calls), file.path(folder, "calls.csv"), row.names = FALSE)
