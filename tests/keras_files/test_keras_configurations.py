"""Whatever a configuration says, it ends in a model or in one line, soon and in bounds."""

import json
import resource
import time
from collections.abc import Mapping
from typing import Any

import configurations
import numpy as np
import pytest

from grulight.errors import MAX_LINE, InputError
from grulight.keras_files.model_description import build_model, plan_model
from grulight.keras_files.plan.variables import Variables
from grulight.keras_files.ported_model import PortedModel
from grulight.keras_files.reader.untrusted_text import parse_json

SECONDS = 5.0
BYTES = 300 << 20
MOST = 1 << 20  # numbers in an array that is made here


@pytest.fixture(scope="module", autouse=True)
def loaded() -> None:
    """Import what torch imports on first use, which no file is to blame for."""
    for config in configurations.CONFIGURATIONS:
        planned(config, "3.0.0")


def planned(config: Any, version: str) -> PortedModel:
    """Make the model of a configuration with arrays of the shapes that it asks for."""
    held = parse_json(json.dumps(config).encode(), "config")
    about = {"keras_version": version, "backend": "", "model": held, "up_to": None}
    graph, variables = plan_model(about)
    return build_model(graph, arrays_for(variables), {**about, "ignored": []})


def outcome(config: Any, version: str = "3.0.0") -> PortedModel | InputError:
    """Make a model, and check what must hold however its configuration came about."""
    start = time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found: PortedModel | InputError
    try:
        found = planned(config, version)
    except InputError as error:
        found = error
    said = "" if isinstance(found, PortedModel) else str(found)
    assert said.isprintable() or not said
    assert len(said) <= MAX_LINE
    assert time.process_time() - start < SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 < BYTES
    return found


def arrays_for(variables: Variables) -> Mapping[str, Any]:
    """Return arrays of the shapes that are right.

    Raises:
        InputError: They are larger than those of any file in these tests.
    """
    arrays: dict[str, Any] = {}
    for name, each in variables.items():
        if isinstance(each, dict):
            arrays[name] = arrays_for(each)
            continue
        shape = [3 if size is None else size for size in each.shapes[0]]
        if any(size < 0 for size in shape) or np.prod(shape, dtype=float) > MOST:
            raise InputError("no file here has such arrays")
        arrays[name] = np.ones(shape, np.float32)
    return arrays


@pytest.mark.parametrize("config", configurations.CONFIGURATIONS)
def test_unchanged_configuration_gives_a_model(config: Any) -> None:
    assert isinstance(outcome(config), PortedModel)


@pytest.mark.parametrize("block", range(4))
def test_changed_configuration_gives_a_model_or_one_line(block: int) -> None:
    found = [
        outcome(configurations.changed(seed)) for seed in range(block * 100, block * 100 + 100)
    ]
    models = sum(isinstance(each, PortedModel) for each in found)
    assert 5 < models < 95  # else the changes would be too weak, or too strong, to tell much


@pytest.mark.slow
@pytest.mark.parametrize("version", ["1.2.2", "2.4.0", "3.0.0"])
@pytest.mark.parametrize("block", range(10))
def test_thirty_thousand_changed_configurations(block: int, version: str) -> None:
    for seed in range(block * 1000, block * 1000 + 1000):
        outcome(configurations.changed(seed), version)
