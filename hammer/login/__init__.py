"""Signing in by a one-time code, and the verifications that prove a telephone number."""
