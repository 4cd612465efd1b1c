"""Tables on the terminal and in a pipe: whole, and in columns whatever the numbers are."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from grulight.commands.console import open_console
from grulight.trace.numbers import fitted
from grulight.trace.recorder import Epoch
from grulight.trace.terminal import epoch_row, loss_chart, score_table
from grulight.trace.training import epoch_words
from tests.keras_files import kerasbytes as kb

Run = Callable[..., str]
LOSSES = [0.0, 0.12345, 9.99999, 99.99999, 123.4567, 4321.5, 98765.4, 1.5e6, 3.2e30, float("nan")]


def test_a_pipe_gets_the_whole_table(run: Run) -> None:
    model, weights = kb.small_model()
    name = "a_layer_" + "with_a_long_name_" * 8
    model["config"]["layers"][0]["config"]["name"] = name
    weights[name] = weights.pop("gru")
    file = kb.saved(Path(), kb.legacy(model, dict(reversed(weights.items()))))
    printed = run("port", file, "-o", "m.ckpt")
    [row] = [line for line in printed.splitlines() if line.split()[:2] == [name, "GRU"]]
    assert "…" not in printed
    assert "any × 4" in row


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_of_any_size_keeps_its_column(loss: float) -> None:
    metrics = {"train_loss": loss, "train_mae": loss, "val_loss": loss, "val_mae": loss}
    row = epoch_row(Epoch(7, metrics, "observed"), True, "mae")
    usual = epoch_row(Epoch(7, dict.fromkeys(metrics, 0.5), "observed"), True, "mae")
    assert row.index("observed") == usual.index("observed")
    fields = row.split()
    assert fields[1] == fitted(loss, 7)
    assert fields[2] == fields[3] == fields[5] == fitted(loss)
    assert fitted(loss) in epoch_words(Epoch(7, metrics, "observed"), "mae")


def test_large_numbers_are_short_and_small_ones_as_ever() -> None:
    assert [fitted(loss) for loss in LOSSES[:3]] == ["0.0000", "0.1235", "10.0000"]
    assert all(len(fitted(loss)) <= 9 for loss in LOSSES)
    for loss in LOSSES[1:-1]:
        assert float(fitted(loss)) == pytest.approx(loss, rel=0.05)


def test_score_tables_and_charts_take_any_loss(capsys: pytest.CaptureFixture[str]) -> None:
    epochs = [Epoch(1, {"train_loss": 3.2e30}, ""), Epoch(2, {"train_loss": 0.5}, "")]
    console = open_console()
    console.print(score_table("test", {"test_loss": 3.2e30}))
    console.print(loss_chart(epochs))
    printed = capsys.readouterr().out
    assert printed.count("3.2e+30") == 2
    assert max(map(len, printed.splitlines())) < 80


def test_values_are_not_labelled(run: Run) -> None:
    x = np.random.default_rng(0).normal(size=(12, 7, 3)).astype("float32")
    model, weights = kb.small_model()
    model["config"]["layers"][1]["config"]["activation"] = "linear"
    run("port", kb.saved(Path(), kb.legacy(model, weights)), "-o", "m.ckpt")
    np.savez("a.npz", x=x)
    printed = run("predict", "--ckpt_path", "m.ckpt", "--data.source", "a.npz")
    assert "12 sequences answered for in" in printed
    assert "labelled" not in printed
