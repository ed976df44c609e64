"""Sessions, how they end, devices that are known, and the keys that sign tokens."""
