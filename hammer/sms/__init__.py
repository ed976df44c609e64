"""Text messages: the outbox they wait in, the gateways they leave by, and their words."""
