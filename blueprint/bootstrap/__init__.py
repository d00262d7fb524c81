"""Virtual environment and locked packages: the work of tasks 1 to 4, with the standard library only.

The one exception is `packaging`, which reads the lock's markers once it is installed; see `lockfile`.
"""

from blueprint.bootstrap.activation import handover, reexec, verify_activation
from blueprint.bootstrap.environment import ensure_environment
from blueprint.bootstrap.examination import examine
from blueprint.bootstrap.install import install, installation_problem
from blueprint.bootstrap.project import verify_project

__all__ = [
    "ensure_environment",
    "examine",
    "handover",
    "install",
    "installation_problem",
    "reexec",
    "verify_activation",
    "verify_project",
]
