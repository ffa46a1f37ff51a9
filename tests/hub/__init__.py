"""Fetching models, from a hub of the tests' own."""
