"""Captioners of several families, small and random, saved as their repositories are."""
