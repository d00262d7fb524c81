"""The platform: which services it consists of, what they are started with, and how to see that they are up."""
