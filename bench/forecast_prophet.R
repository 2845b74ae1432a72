# Real Prophet's answers for bench/forecast_accuracy.lua: Rscript forecast_prophet.R FOLDER [SHARE OF]
# FOLDER/jobs.csv: id, kind (accuracy or breach), threshold; FOLDER/ID.csv: ds (Unix seconds), y,
# part (0 history, 1 future). Writes FOLDER/ID.prophet.csv: yhat, yhat_lower, yhat_upper for accuracy;
# for breach the days until the threshold by yhat, yhat_upper, the median path with and without its
# noise, -1 for never. What is there already is not done again.
suppressPackageStartupMessages(suppressWarnings(library(prophet)))
arguments <- commandArgs(trailingOnly = TRUE)
folder <- arguments[1]
jobs <- read.csv(file.path(folder, "jobs.csv"), stringsAsFactors = FALSE)
if (length(arguments) > 1) {
  parts <- as.integer(arguments[2:3])
  jobs <- jobs[seq_len(nrow(jobs)) %% parts[2] == parts[1], ]
}

first_days <- function(value, threshold, days) {
  i <- which(value >= threshold)
  if (length(i) == 0) -1 else days[i[1]]
}

# The median over paths of when each first meets the threshold; a path that never does is infinite.
median_path <- function(paths, threshold, days) {
  first <- apply(paths, 2, function(p) {
    i <- which(p >= threshold)
    if (length(i) == 0) Inf else days[i[1]]
  })
  m <- quantile(first, 0.5, type = 1)
  if (is.finite(m)) m else -1
}

for (j in seq_len(nrow(jobs))) {
  id <- jobs$id[j]
  answer <- file.path(folder, paste0(id, ".prophet.csv"))
  if (file.exists(answer)) next
  set.seed(1)
  d <- read.csv(file.path(folder, paste0(id, ".csv")))
  d$ds <- as.POSIXct(d$ds, origin = "1970-01-01", tz = "GMT")
  past <- d[d$part == 0, c("ds", "y")]
  future <- d[d$part == 1, "ds", drop = FALSE]
  started <- proc.time()[["elapsed"]]
  breach <- jobs$kind[j] == "breach"
  invisible(capture.output(suppressMessages(
    m <- prophet(past, yearly.seasonality = FALSE, interval.width = 0.8, weekly.seasonality = "auto"))))
  if (breach) {
    p <- predict(m, future)
    sampled <- predictive_samples(m, future)
    smooth <- sampled$trend * (1 + p$multiplicative_terms) + p$additive_terms
    days <- (as.numeric(future$ds) - max(as.numeric(past$ds))) / 86400
    threshold <- jobs$threshold[j]
    out <- data.frame(
      yhat = first_days(p$yhat, threshold, days),
      yhat_upper = first_days(p$yhat_upper, threshold, days),
      path = median_path(sampled$yhat, threshold, days),
      smooth = median_path(smooth, threshold, days))
  } else {
    p <- predict(m, future)
    out <- data.frame(yhat = p$yhat, yhat_lower = p$yhat_lower, yhat_upper = p$yhat_upper)
  }
  out$seconds <- proc.time()[["elapsed"]] - started
  partial <- paste0(answer, ".part", Sys.getpid())
  write.csv(out, partial, row.names = FALSE)
  file.rename(partial, answer)
}
