import numpy as np
from conftest import Answers

from parity.cases import Case
from parity.compare import compare
from parity.rungs import rung_of
from parity.tolerances import FLOAT64_BOUND


def test_gradients_of_every_leaf_agree(case: Case, answers: Answers) -> None:
    ours, theirs = answers(case.name, "float64")
    found = [d for d in compare(ours, theirs) if rung_of(d.tensor) == 3]
    leaves = {*case.weights(), "values", *(["h0"] if case.h0 else [])}
    for objective in ("grad", "lossgrad"):
        assert {f"{objective}.{leaf}" for leaf in leaves} <= {d.tensor for d in found}
    for difference in found:
        assert difference.relative <= FLOAT64_BOUND, difference


def test_no_gradient_is_trivially_zero(case: Case, answers: Answers) -> None:
    _, theirs = answers(case.name, "float64")
    for name, array in theirs.items():
        if name.startswith("grad.") and name != "grad.values":
            assert np.abs(array).min() > 0, name
