"""Readers of data set layouts as they lie on disk, one module a family."""
