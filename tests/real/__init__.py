"""Texts through real gateways and services of others."""
