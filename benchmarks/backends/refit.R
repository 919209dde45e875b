# refit.R FOLDER PART FORMULA FAMILY TRIALS: lme4's refit over the rows of yPART.csv (responses) on
# data.csv; writes outPART.csv: seconds first, then log-likelihood and fixed effects of each model.

suppressPackageStartupMessages(library(lme4))
words <- commandArgs(trailingOnly = TRUE)
place <- function(name) file.path(words[1], paste0(name, words[2], ".csv"))
d <- read.csv(file.path(words[1], "data.csv"), stringsAsFactors = TRUE)
Y <- as.matrix(read.csv(place("y"), header = FALSE))
form <- as.formula(words[3])
model <- if (words[4] == "") lmer(form, d, REML = FALSE) else glmer(form, d, family = words[4])
found <- matrix(NA_real_, nrow(Y), 1 + length(fixef(model)))
started <- Sys.time()
for (k in seq_len(nrow(Y))) {
  y <- Y[k, ]
  response <- if (words[5] == "") y else cbind(y, d[[words[5]]] - y)
  m <- suppressMessages(suppressWarnings(refit(model, newresp = response)))
  found[k, ] <- c(as.numeric(logLik(m)), fixef(m))
}
seconds <- as.numeric(difftime(Sys.time(), started, units = "secs"))
first <- c(seconds, rep(0, ncol(found) - 1))
write.table(format(rbind(first, found), digits = 17), place("out"), sep = ",", quote = FALSE,
            row.names = FALSE, col.names = FALSE)
