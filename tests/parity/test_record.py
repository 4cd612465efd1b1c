"""A record of TensorFlow's answers stands in for TensorFlow.

``default.safetensors`` holds the default model. To make it again, in an empty directory:
``grulight fit && python -m parity record lightning_logs/version_0/checkpoints/last.ckpt -o R``.
"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from grulight.errors import InputError
from parity.__main__ import main
from parity.cases import Case
from parity.check import LiveSide
from parity.question import Arrays, Network, Question
from parity.record import Record, write_record
from parity.sides.torch_side import TorchSide

DEFAULT = Path(__file__).with_name("default.safetensors")
NETWORK = Network(2, 3, 4)
FACTS = {"target": "small", "weights_sha256": "0", "theirs": "x", "versions": {}, "notes": []}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("record") / "small.safetensors"
    case = Case("random_weights_ragged_odd_batch", NETWORK)
    own = Question("own_weights", "weights", NETWORK, case.weights(), {})
    write_record(path, [own, case.question()], LiveSide(TorchSide()), FACTS)
    return path


def test_recorded_tensorflow_gives_the_verdict_without_tensorflow(tmp_path: Path) -> None:
    code = (
        "import sys; from parity.__main__ import main; code = main(sys.argv[1:]);"
        "assert not {'tensorflow', 'keras'} & sys.modules.keys(); sys.exit(code)"
    )
    page, figures = tmp_path / "r.html", tmp_path / "r.json"
    done = subprocess.run(
        [sys.executable, "-c", code, "replay", DEFAULT, "--report", page, "--json", figures],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the same: every rung agrees, and all 19 wrong ports were caught" in " ".join(
        done.stdout.split()
    )
    assert page.stat().st_size > 10_000
    assert figures.stat().st_size > 1_000


def test_questions_and_answers_come_back_as_they_were(small: Path) -> None:
    record = Record(small)
    case = Case("random_weights_ragged_odd_batch", NETWORK).question()
    _, asked = record.questions
    for kind in ("weights", "inputs"):
        ours, theirs = getattr(asked, kind), getattr(case, kind)
        assert ours.keys() == theirs.keys()
        for name in theirs:
            np.testing.assert_array_equal(ours[name], theirs[name], name)
    for dtype in ("float64", "float32"):
        expected = TorchSide()(case.as_dtype(dtype))
        for name, array in record(asked.as_dtype(dtype)).items():
            assert array.dtype == expected[name].dtype
            np.testing.assert_array_equal(array, expected[name], name)


def test_any_changed_byte_is_noticed(small: Path, tmp_path: Path) -> None:
    content = small.read_bytes()
    changed = tmp_path / "changed.safetensors"
    places = np.random.default_rng(0).integers(0, len(content), 60)
    for place in [0, 9, content.index(b'"sha256":"') + 12, len(content) - 1, *places]:
        spoilt = bytearray(content)
        spoilt[place] ^= 1
        changed.write_bytes(spoilt)
        with pytest.raises(InputError, match=r"changed\.safetensors: (does not match|is no)"):
            Record(changed)


@pytest.mark.parametrize("content", [b"", b"no record", b"\xff" * 100])
def test_what_is_no_record_is_one_line_and_exit_code_2(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(content)
    assert main(["replay", str(path)]) == 2
    assert capsys.readouterr().err == (
        f"parity replay: {path}: is no record of `parity record` (grulight parity record 1).\n"
    )


def test_missing_and_shortened_records_are_refused(small: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        Record(tmp_path / "missing.safetensors")
    short = tmp_path / "short.safetensors"
    short.write_bytes(small.read_bytes()[:-100])
    with pytest.raises(InputError, match="changed or cut off"):
        Record(short)


def test_a_wrong_port_is_called_different_and_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The record is of a network whose bias rows are swapped."""

    class Swapped(TorchSide):
        def __call__(self, question: Question) -> Arrays:
            swap = {"gru.bias_ih_l0": "gru.bias_hh_l0", "gru.bias_hh_l0": "gru.bias_ih_l0"}
            weights = {n: question.weights[swap.get(n, n)] for n in question.weights}
            return super().__call__(replace(question, weights=weights))

    path = tmp_path / "swapped.safetensors"
    case = Case("random_weights_ragged_odd_batch", NETWORK)
    write_record(path, [case.question()], LiveSide(Swapped()), FACTS)
    assert main(["replay", str(path)]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "different: rung 1 (forward, float64, random_weights_ragged_odd_batch)" in said
    assert "hidden.l0.forward at sequence" in said
    assert "first beyond the bound at time step 0" in said
    assert "gate " in said
