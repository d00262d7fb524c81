"""Parameters are judged as the flow itself would judge them."""

from __future__ import annotations

from pathlib import Path

import pytest

from blueprint.prefect_adapter.flow_definition import parameter_problems
from blueprint.prefect_adapter.flow_loading import load
from tests.support.flow_file import configured


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"size": 5}, ""),
        ({"size": 5, "name": "y"}, ""),
        ({}, "size: has no default"),
        ({"size": 5, "siez": 6}, "siez: the flow has no such parameter"),
        ({"size": 0}, "greater than or equal to 1"),
        ({"size": "many"}, "integer"),
    ],
)
def test_parameters_that_do_not_fit_are_told_before_the_server_is_asked(
    tmp_path: Path, parameters: dict[str, object], says: str
) -> None:
    problems = parameter_problems(load(configured(tmp_path).entrypoint, tmp_path), parameters)
    assert says in "; ".join(problems)
    assert bool(problems) == bool(says)
