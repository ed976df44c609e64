"""Limits on guesses, texts and invite attempts; idempotency keys."""
