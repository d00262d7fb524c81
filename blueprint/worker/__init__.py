"""The worker's process: Prefect's own worker, and beside it a fork server that starts its flow runs quickly."""
