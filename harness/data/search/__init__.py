"""The exact search for near rows: bounds of low precision first, the exact cosine of what they let pass."""
