"""One task = one predictor on one fold: plan, fit, predict, record; executors; reuse and resume."""
