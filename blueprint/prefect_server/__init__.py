"""Prefect's server, with a mend for SQLite: it waits for locks."""
