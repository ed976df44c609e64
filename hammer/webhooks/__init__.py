"""Tells apps what happened: signed posts to their servers (Standard Webhooks), and a feed that they read.

The events of the audit trail are the outbox: an event is stored in the transaction of what it records, so it exists exactly if that
happened. `feed.publish` then gives it a place in the feed and adds a delivery for each endpoint that wants it, in one transaction.
"""
