"""The tasks that need the installed environment: 5 to 30, each under its number."""

from __future__ import annotations

from collections.abc import Callable

from blueprint.task import Evidence, Handle
from blueprint.tasks import phase1_setup, phase2_deployment, phase3_monitoring
from blueprint.tasks.context import Context

__all__ = ["FUNCTIONS", "Context"]

FUNCTIONS: dict[int, Callable[[Context, Handle], Evidence]] = {
    5: phase1_setup.validate_installation,
    6: phase1_setup.configure_api_url,
    7: phase1_setup.verify_pipeline,
    8: phase1_setup.start_server,
    9: phase1_setup.test_local_execution,
    10: phase1_setup.verify_flow_run,
    11: phase2_deployment.create_pool,
    12: phase2_deployment.verify_pool,
    13: phase2_deployment.start_worker,
    14: phase2_deployment.verify_definition,
    15: phase2_deployment.deploy_flow,
    16: phase2_deployment.verify_registration,
    17: phase2_deployment.check_ui,
    18: phase2_deployment.verify_schedule,
    19: phase2_deployment.verify_polling,
    20: phase2_deployment.verify_phase2,
    21: phase3_monitoring.trigger_default,
    22: phase3_monitoring.verify_completed,
    23: phase3_monitoring.trigger_overrides,
    24: phase3_monitoring.trigger_json,
    25: phase3_monitoring.verify_runs,
    26: phase3_monitoring.check_logs,
    27: phase3_monitoring.verify_monitoring,
    28: phase3_monitoring.document_failures,
    29: phase3_monitoring.verify_schedule_after_runs,
    30: phase3_monitoring.verify_all,
}
