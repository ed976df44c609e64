"""Texts through parts that nobody here wrote."""
