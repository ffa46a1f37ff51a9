"""The plain predictors every run should beat: the mean target, nearest neighbours, and ridge regression."""
