"""The one place that talks to Prefect's client: small functions that return facts.

Every answer is a frozen record of our own, so the tasks know nothing of Prefect's classes. A server that does not
answer, or answers with an error, is an `ApiError` that says what was asked.
"""
