"""Values that float32 cannot tell apart are not learned without a word."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from grulight.commands.console import open_console
from grulight.commands.pack import packed
from grulight.data.datamodule import SequenceDataModule
from grulight.data.readers import ReadOptions
from grulight.data.readers.targets import Wish
from tests.litsets import optimized

X = np.random.default_rng(0).normal(size=(20, 4, 1)).astype(np.float32)
WAVE = np.sin(np.arange(20))
SAYS = (
    r"lose digits in float32.* are moved by up to .*\. Subtract a constant from them first, such "
    r"as \d.*, or use SequenceRegressor"
)


def table(y: np.ndarray) -> pd.DataFrame:
    names = np.repeat([f"s{n}" for n in range(20)], 4)
    return pd.DataFrame({"sequence": names, "a": X.ravel(), "label": np.repeat(y, 4)})


def source(kind: str, y: np.ndarray) -> tuple[Any, dict[str, Any]]:
    """Return a source of such values, and the options that it takes."""
    match kind:
        case "arrays":
            return (X, y), {}
        case "steps":
            padded = np.where(np.arange(4) < 3, y[:, None], 0)  # of no account in the padding
            np.savez("a.npz", x=X, y=padded, lengths=np.full(20, 3))
            return "a.npz", {}
        case "frame":
            return table(y), {"targets": "values"}
        case "csv":
            table(y).to_csv("a.csv", index=False)
            return "a.csv", {"targets": "values"}
        case _:
            rows = [{"values": x, "label": value} for x, value in zip(X, y, strict=True)]
            return optimized(Path(), rows), {"targets": "values"}


@pytest.mark.parametrize("kind", ["arrays", "steps", "frame", "csv", "litdata"])
def test_values_that_float32_cannot_tell_apart_get_a_line(kind: str) -> None:
    for offset in (1e9, 1e3):
        found, options = source(kind, offset + WAVE)
        data = SequenceDataModule(found, **options)
        assert data.parts.train.has_values
        assert len(data.notes) == (offset == 1e9)
        for note in data.notes:
            assert re.search(SAYS, note)
            assert len(note) <= 500


def test_a_table_that_is_packed_gets_the_line_then(capsys: pytest.CaptureFixture[str]) -> None:
    found, _ = source("csv", 1e9 + WAVE)
    packed(found, "packed", ReadOptions(targets=Wish("values")), open_console())
    assert "lose digits in float32" in capsys.readouterr().out


def test_a_forecast_of_such_values_gets_the_line() -> None:
    long = pd.DataFrame({"a": 1e9 + WAVE, "b": WAVE})
    for label, expected in (("a", 1), ("b", 0)):
        data = SequenceDataModule(long, label=label, window=3, standardize=True)
        assert data.parts.train.offset is not None
        said = [note for note in data.notes if "what is learned" in note]
        assert len(said) == expected
