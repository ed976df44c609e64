"""Invite codes: how they are read, and how one is activated."""
