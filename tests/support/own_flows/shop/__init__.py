"""A package, as larger projects have."""
