"""Accounts, their profiles, and what is stored about a person."""
