"""Plans, runs and records executions; knows nothing of Prefect or of services."""
