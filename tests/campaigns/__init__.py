"""Long, seeded searches for faults. ``python -m tests.campaigns NAME`` runs one; none is part of the tests."""
