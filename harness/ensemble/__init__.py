"""Gram sums, weight optimisers, and the nested estimate of what they give."""
