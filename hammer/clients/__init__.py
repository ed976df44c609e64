"""Clients: apps and backends that the operator registered, and the secrets that they authenticate with."""
