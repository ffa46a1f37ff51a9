"""Images, tables and layouts: what must hold of the cases."""
