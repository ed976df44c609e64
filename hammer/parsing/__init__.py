"""What people type and paste, read into one canonical form."""
