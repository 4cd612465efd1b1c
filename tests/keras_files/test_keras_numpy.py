"""The proof's NumPy witness says what Keras says of every model that it follows, in every file."""

from pathlib import Path

import numpy as np
import pytest
import theirs
from casekit import Case
from cases import CASES
from test_keras_parity import BOUND, NOT_IN_KERAS_2, NOT_IN_KERAS_3

from parity.keras_files.numpy_chain import FAILURES, NumpyWitness, run

QUICK = [case for case in CASES if case.quick and not case.training]


def refuted(case: Case, flavour: theirs.Flavour, folder: Path) -> list[str]:
    """Return the files that the witness reads otherwise than Keras; those not followed are none."""
    model = theirs.built(case.build, 5, flavour)
    inputs = case.inputs()
    double = theirs.in_float64(case.build, model, flavour)
    expected = theirs.computed(double, inputs, 9)
    found = []
    for end, (path, config) in theirs.saved(model, folder).items():
        try:
            witness = NumpyWitness(path, config, 10**6)
            outputs = run(witness.model, [*inputs.values()], witness.own)
        except FAILURES:
            continue
        for at, output in enumerate(outputs):
            right = expected[f"output {at}"]
            near = output.shape == right.shape and np.allclose(output, right, BOUND, BOUND)
            found += [] if near else [f"output {at} of .{end}"]
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [pytest.param(c, id=c.name) for c in QUICK if c.name not in NOT_IN_KERAS_3]
)
def test_numpy_says_what_keras_3_says(case: Case, tmp_path: Path) -> None:
    assert refuted(case, theirs.KERAS_3, tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [pytest.param(c, id=c.name) for c in QUICK if c.name not in NOT_IN_KERAS_2]
)
def test_numpy_says_what_keras_2_says(case: Case, tmp_path: Path) -> None:
    pytest.importorskip("tf_keras", reason="Keras 2 is not installed", exc_type=ImportError)
    assert refuted(case, theirs.keras_2(), tmp_path) == []
