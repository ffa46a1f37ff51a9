"""Plugins and models: what must hold of the cases."""
