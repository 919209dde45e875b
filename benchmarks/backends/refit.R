# refit.R FOLDER PART PACKAGE FORMULA FAMILY TRIALS: refit of lme4 or glmmTMB over the rows of yPART.csv
# (responses) on data.csv; writes outPART.csv: seconds first, then log-likelihood and fixed effects of
# each model.

words <- commandArgs(trailingOnly = TRUE)
package <- words[3]
suppressPackageStartupMessages(library(package, character.only = TRUE))
place <- function(name) file.path(words[1], paste0(name, words[2], ".csv"))
d <- read.csv(file.path(words[1], "data.csv"), stringsAsFactors = TRUE)
Y <- as.matrix(read.csv(place("y"), header = FALSE))
form <- as.formula(words[4])
if (package == "glmmTMB") {
  model <- glmmTMB(form, d, family = if (words[5] == "") "gaussian" else words[5])
} else {
  model <- if (words[5] == "") lmer(form, d, REML = FALSE) else glmer(form, d, family = words[5])
}
fixed <- function(m) if (package == "glmmTMB") fixef(m)$cond else fixef(m)
found <- matrix(NA_real_, nrow(Y), 1 + length(fixed(model)))
started <- Sys.time()
for (k in seq_len(nrow(Y))) {
  y <- Y[k, ]
  response <- if (words[6] == "") y else cbind(y, d[[words[6]]] - y)
  m <- suppressMessages(suppressWarnings(refit(model, newresp = response)))
  found[k, ] <- c(-if (package == "glmmTMB") m$fit$objective else -as.numeric(logLik(m)), fixed(m))
}
seconds <- as.numeric(difftime(Sys.time(), started, units = "secs"))
first <- c(seconds, rep(0, ncol(found) - 1))
write.table(format(rbind(first, found), digits = 17), place("out"), sep = ",", quote = FALSE,
            row.names = FALSE, col.names = FALSE)
