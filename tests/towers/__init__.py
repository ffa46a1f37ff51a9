"""Vision towers by name."""
