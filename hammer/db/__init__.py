"""The database: transactions, prepared statements, and pagination."""
