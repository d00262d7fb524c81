"""Prefect's server, with mends for SQLite: it waits for locks, and makes a new database without changing threads."""
