"""The token stores: memory, SQLite, PostgreSQL, Redis."""
