"""Long trials that are run by hand: bounded, seeded, and not among the quick tests."""
