"""No parameters and no tasks."""

from prefect import flow


@flow(log_prints=True)
def bare() -> None:
    """Only a line in the log."""
    print("nothing to ask")
