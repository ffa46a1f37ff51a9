"""A run's folder: predictions by row id, records, keys, atomic writes."""
