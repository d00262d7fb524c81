"""The settings: `[tool.blueprint]`, the environment and the command line in one model; schedules; `init`'s table."""
