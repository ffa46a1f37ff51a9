"""The machine, caches, submissions and sizes: what must hold of the cases."""
