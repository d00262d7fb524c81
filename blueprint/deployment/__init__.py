"""The deployment as Python: what it should be, and `flow.deploy` or `flow.serve` to make it so.

It takes the place of prefect.yaml.
"""
