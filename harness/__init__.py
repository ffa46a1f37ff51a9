"""A workbench for reading prompts back out of generated images: predictors, honest folds, blending."""

__version__ = "0.1.0"
