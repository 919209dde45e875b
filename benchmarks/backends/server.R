# One long-lived R process for the benchmarks: commands on standard input, answers after "@@" on standard output.
#   info                                 -> R version, BLAS, package versions
#   data <tab> path <tab> levels         -> rows; levels: column=level|level;column=...
#   fit  <tab> package <tab> call        -> seconds, log-likelihood, status, fixed effects (comma separated)
# Only the call is timed. The data are the data frame `d`.

answer <- function(...) {
  cat("@@", paste(c(...), collapse = "\t"), "\n", sep = "")
  flush(stdout())
}

installed <- function(package) {
  if (requireNamespace(package, quietly = TRUE)) as.character(packageVersion(package)) else ""
}

read_data <- function(path, levels) {
  d <- read.csv(path, stringsAsFactors = TRUE)
  for (entry in strsplit(levels, ";", fixed = TRUE)[[1]]) {
    parts <- strsplit(entry, "=", fixed = TRUE)[[1]]
    d[[parts[1]]] <- factor(d[[parts[1]]], levels = strsplit(parts[2], "|", fixed = TRUE)[[1]])
  }
  d
}

status_of <- function(model) {
  if (inherits(model, "glmmTMB")) {
    good <- model$fit$convergence == 0 && isTRUE(model$sdr$pdHess)
    return(if (good) "converged" else paste("not converged:", model$fit$message))
  }
  messages <- unlist(model@optinfo$conv$lme4$messages)
  if (length(messages) == 0) "converged" else paste(messages, collapse = "; ")
}

run <- function(package, text) {
  suppressPackageStartupMessages(library(package, character.only = TRUE))
  call <- parse(text = text)[[1]]
  model <- NULL
  started <- Sys.time()
  problem <- tryCatch({
    suppressMessages(suppressWarnings(model <- eval(call, globalenv())))
    NULL
  }, error = function(e) conditionMessage(e))
  seconds <- as.numeric(difftime(Sys.time(), started, units = "secs"))
  if (!is.null(problem)) {
    return(answer(seconds, "NaN", paste("error:", gsub("[\t\n]", " ", problem)), ""))
  }
  beta <- if (inherits(model, "glmmTMB")) glmmTMB::fixef(model)$cond else lme4::fixef(model)
  answer(format(seconds, digits = 15), format(as.numeric(logLik(model)), digits = 17),
         gsub("[\t\n]", " ", status_of(model)), paste(format(beta, digits = 17, trim = TRUE), collapse = ","))
}

options(glmmTMB.cores = as.integer(Sys.getenv("BENCHMARK_GLMMTMB_THREADS", "1")))
input <- file("stdin", "r")
while (length(line <- readLines(input, 1)) > 0) {
  words <- strsplit(line, "\t", fixed = TRUE)[[1]]
  if (words[1] == "info") {
    answer(R.version.string, extSoftVersion()[["BLAS"]], installed("lme4"), installed("glmmTMB"))
  } else if (words[1] == "data") {
    d <- read_data(words[2], if (length(words) > 2) words[3] else "")
    answer(nrow(d))
  } else if (words[1] == "fit") {
    run(words[2], words[3])
  }
}
