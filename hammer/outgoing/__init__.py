"""Requests that Hammer sends to servers of others: which addresses it may reach, and one post within a time limit."""
