"""Basics that every room uses: errors, files, tasks, HTTP, child processes, waiting."""
