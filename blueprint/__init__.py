"""Blueprint: from a fresh machine to a running and proven self-hosted Prefect 3 platform."""

__version__ = "1.0.0"
