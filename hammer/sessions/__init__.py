"""Sessions and their end, known devices, and the keys that sign access tokens."""
