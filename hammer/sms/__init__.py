"""Text messages: the outbox that stores them, the gateways that send them, and what they say."""
