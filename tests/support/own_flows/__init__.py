"""Flows as users write them: what the tests deploy and prove in place of the bundled pipeline."""
