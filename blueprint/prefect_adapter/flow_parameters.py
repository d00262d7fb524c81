"""Whether parameters fit a flow: by the flow's own validation, and by the server's, which knows its schema only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blueprint.config.settings import Settings
from blueprint.prefect_adapter import flow_loading


def parameter_problems(settings: Settings, root: Path, parameters: Mapping[str, Any]) -> list[str]:
    """What the flow's own validation has against these parameters; empty if they fit."""
    from prefect.exceptions import ParameterBindError, ParameterTypeError, SignatureMismatchError

    flow = flow_loading.load(settings, root)
    schema = flow.parameters.model_dump(mode="json")
    unknown = sorted(set(parameters) - set(schema.get("properties", {})))
    if unknown:
        return [f"{name}: the flow has no such parameter" for name in unknown]
    missing = sorted(set(schema.get("required", ())) - set(parameters))
    if missing:
        return [f"{name}: has no default and is not given" for name in missing]
    try:
        flow.validate_parameters(dict(parameters))
    except (ParameterTypeError, ParameterBindError, SignatureMismatchError, ValueError) as error:
        return [" ".join(str(error).split())]
    return []


def server_refuses(schema: Mapping[str, Any], parameters: Mapping[str, Any]) -> bool:
    """Whether the server, which knows a flow's schema only, would refuse these parameters for what they are."""
    from prefect.utilities.schema_tools.validation import validate

    return bool(validate(dict(parameters), dict(schema), ignore_required=True))
