"""The parts of `init`: reading a flow's schema, writing the table, and putting it into pyproject.toml."""
