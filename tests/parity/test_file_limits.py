"""What was changed before Keras was asked is part of the verdict."""

from pathlib import Path
from typing import Any

import pytest

from grulight.keras_files.layer_report import LayerRow
from parity.keras_files.limits import limits_of
from parity.keras_files.opening_rules import untrusted
from parity.question import Arrays
from parity.report.json_file import write_json
from parity.report.report import print_result, write_page
from parity.result import EXIT_CODES, Limit, Result

ADAM = {"class_name": "Adam", "config": {"learning_rate": 0.0010000000474974513, "beta_1": 0.9}}


class Model:
    """What limits look at of a port."""

    def __init__(self, *ignored: str, kind: str = "GRU") -> None:
        self.table = (LayerRow("gru", kind, "ScanGRU", (), 0, 0, ignored),)

    def modules(self) -> list[Any]:
        return []


class FileQuestions:
    heads = {"dense": "categorical"}  # noqa: RUF012 - it stands for an instance
    settings = {"trained": ("gru/kernel",)}  # noqa: RUF012


def limits(*ignored: str, kind: str = "GRU", **config: Any) -> list[Limit]:
    layers = [{"class_name": "GRU", "config": {"name": "gru", **config.pop("gru", {})}}]
    whole = {"config": {"layers": layers}, **config}
    return limits_of(Path(__file__), Model(*ignored, kind=kind), whole, FileQuestions())


def test_a_plain_model_has_no_limits() -> None:
    plain = {"optimizer": "adam", "loss": "categorical_crossentropy"}
    exact = {"dtype": {"class_name": "DTypePolicy", "config": {"name": "float32"}}}
    assert limits(gru={**exact, "dropout": 0.0}, compile_config=plain) == []
    assert limits(compile_config={**plain, "optimizer": ADAM}) == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"gru": {"dtype": {"config": {"name": "mixed_float16"}}}}, "computes in 'mixed_float16'"),
        ({"gru": {"dtype": "mixed_bfloat16"}}, "computes in 'mixed_bfloat16'"),
        ({"gru": {"dtype": {"class_name": "Policy", "config": {"name": "float16"}}}}, "float16"),
    ],
)
def test_low_precision_leaves_the_verdict_open(settings: Any, words: str) -> None:
    [limit] = limits(**settings)
    assert limit.open
    assert words in limit.what


@pytest.mark.parametrize("setting", ["stateful True", "lora_rank 4", "quantization_config X"])
def test_what_the_port_computes_otherwise_leaves_the_verdict_open(setting: str) -> None:
    [limit] = limits(setting)
    assert limit.open
    assert "'gru'" in limit.what


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"ignored": ["kernel_regularizer L2"]}, "kernel_regularizer of 'gru' would add to the"),
        ({"ignored": ["kernel_constraint MaxNorm"]}, "would change weights after each step"),
        ({"kind": "ActivityRegularization"}, "activity_regularizer of 'gru' would add to the"),
        ({"gru": {"dropout": 0.2}}, "dropout and noise are off on both sides ('gru')"),
        ({"gru": {"layer": {"config": {"name": "noise", "stddev": 1}}}}, "both sides ('noise')"),
        ({"compile_config": {"optimizer": "sgd", "loss": "mse"}}, "optimizer 'sgd' and loss 'mse'"),
        (
            {
                "compile_config": {
                    "optimizer": {"class_name": "Adam", "config": {"clipnorm": 1.0}},
                    "loss": "categorical_crossentropy",
                }
            },
            "optimizer 'Adam'",
        ),
        (
            {
                "compile_config": {
                    "optimizer": ADAM,
                    "loss": {
                        "class_name": "CategoricalCrossentropy",
                        "config": {"label_smoothing": 0.1},
                    },
                }
            },
            "loss 'CategoricalCrossentropy'",
        ),
    ],
)
def test_what_only_training_sees_qualifies_the_verdict(given: dict[str, Any], words: str) -> None:
    [limit] = limits(*given.pop("ignored", []), **given)
    assert not limit.open
    assert words in limit.what


def agreed() -> Result:
    """Return a result in which all agrees and a wrong port was caught."""
    import numpy as np

    from parity.cases import RAGGED, Case
    from parity.check import LiveSide, climb
    from parity.question import Network, Question
    from parity.sides.reference_side import answer

    def side(question: Question) -> Arrays:
        return {name: np.asarray(a, question.dtype) for name, a in answer(question).items()}

    result = Result("x", "0", "ours", "theirs", {})
    climb(result, [Case(RAGGED, Network(2, 3, 4)).question()], side, LiveSide(side))
    return result


def test_words_are_plain_only_where_nothing_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    result = agreed()
    assert (result.verdict, result.words) == ("the same", "the same")
    result.rebuilt = True
    assert result.words == "the same as our reading rebuilt in Keras"
    result.limits = [Limit("dropout <b>is off</b>"), Limit("regularisers are left out")]
    assert result.verdict == "the same"
    print_result(result, Console(width=200))
    write_json(result, tmp_path / "r.json")
    write_page(result, tmp_path / "r.html")
    said = capsys.readouterr().out
    for text in (said, *((tmp_path / f"r.{end}").read_text() for end in ("json", "html"))):
        assert "as our reading rebuilt in Keras, but for 2 things named below" in text
        assert "regularisers are left out" in text
    assert "<b>" not in (tmp_path / "r.html").read_text()


def test_what_may_compute_otherwise_is_not_called_the_same() -> None:
    result = agreed()
    result.limits = [Limit("gru is stateful", open=True)]
    assert EXIT_CODES[result.verdict] == 2
    assert result.reason == "what was compared agrees, but gru is stateful"


@pytest.mark.parametrize("name", ["OrthogonalInitializer", "IdentityInitializer"])
def test_keras_sees_files_that_name_initialisers_as_its_first_versions_did(name: str) -> None:
    initializer = {"class_name": name, "module": "keras.initializers", "config": {}}
    gru = {"class_name": "GRU", "config": {"recurrent_initializer": initializer}}
    assert untrusted({"config": {"layers": [gru]}}) is None
