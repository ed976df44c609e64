"""Invite codes: reading them, activating one, and the tombstones that prevent a second activation."""
