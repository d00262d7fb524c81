"""The 30 tasks."""
