"""The 30 tasks: numbers, titles, phases, what each needs and what each proves.

The table of contents of the product. Readable with nothing installed; what the tasks do is in `blueprint.tasks`
and, for the first four, in `blueprint.bootstrap`.
"""

from __future__ import annotations

from blueprint.core.task import TaskSpec


def _specs() -> tuple[TaskSpec, ...]:
    phase1 = (
        (1, "Verify project directory", (), 10, "needed files, writable folder, fitting Python, disk space"),
        (2, "Check/create virtual environment", (1,), 120, "a healthy .venv of a fitting Python"),
        (3, "Activate virtual environment", (2,), 10, "the executor itself runs in .venv, and children inherit it"),
        (4, "Install/upgrade Prefect 3", (3,), 900, "the installed set equals requirements.lock, bytecode compiled"),
        (5, "Validate installation", (4,), 120, "versions, dependency consistency, the server application imports"),
        (6, "Configure API URL", (4,), 60, "a fresh process in the project folder resolves the platform's URL"),
        (7, "Verify data_pipeline.py", (4,), 60, "flow, parameter schema, tasks; the data source answers"),
        (8, "Start Prefect server", (4,), 120, "ready, right version, the port's listener is our process"),
        (9, "Test local execution", (7, 8), 120, "the pipeline as a script ends 0 and its rows are in the warehouse"),
        (10, "Verify flow run in system", (9,), 60, "the server knows that run: Completed, its task runs, its logs"),
    )
    phase2 = (
        (11, "Create process work pool", (8,), 30, "the pool exists with type process"),
        (12, "Verify work pool", (11,), 30, "type, not paused, concurrency limit as configured"),
        (13, "Start worker", (11,), 90, "our worker is online in that pool and its health endpoint answers"),
        (
            14,
            "Verify deployment definition",
            (7, 8),
            60,
            "entrypoint, next fire times, parameters fit, the name is free",
        ),
        (15, "Deploy flow", (8, 11, 14), 90, "deployed; deploying again keeps the same deployment id"),
        (16, "Verify deployment registration", (15,), 30, "entrypoint, pool, parameters, schema, version by name"),
        (17, "Check deployment in UI", (15,), 30, "the page, its API address, and the query that lists the deployment"),
        (18, "Verify schedule configuration", (15,), 60, "the server's copy, and runs on both sides of a clock change"),
        (19, "Verify worker is polling", (13,), 60, "the worker's last heartbeat moves between two reads"),
        (20, "Phase 2 complete verification", (6, 12, 16, 17, 18, 19), 60, "pool, worker and deployment read afresh"),
    )
    phase3 = (
        (21, "Trigger deployment (default parameters)", (13, 15), 60, "a run of the deployment, default parameters"),
        (22, "Verify execution completed", (21,), 180, "states in order, task runs, the rows landed"),
        (23, "Trigger with parameter overrides", (13, 15), 180, "the overridden run completed, its rows landed"),
        (24, "Trigger with JSON parameters", (13, 15), 180, "the run completed, its rows in the table it names"),
        (25, "Verify multiple flow runs", (22, 23, 24), 60, "each run by its id: own parameters, own row count"),
        (26, "Check logs accessibility", (22, 23, 24), 60, "the lines that each run wrote; server and worker logs"),
        (27, "Verify monitoring points", (13, 15), 30, "health, ready, version, UI, docs, metrics, worker health"),
        (28, "Document failure handling", (13, 15), 240, "retried then Completed; retried then Failed; refused"),
        (29, "Verify schedule configuration (after runs)", (22, 23, 24, 28), 60, "still active, coming runs made"),
        (30, "Final system verification", (10, 20, 25, 26, 27, 28, 29), 90, "all read again; nothing late or stuck"),
    )
    phases = enumerate((phase1, phase2, phase3), start=1)
    return tuple(
        TaskSpec(number, title, phase, needs, seconds, proof)
        for phase, rows in phases
        for number, title, needs, seconds, proof in rows
    )


TASKS = _specs()
BY_NUMBER = {spec.number: spec for spec in TASKS}
