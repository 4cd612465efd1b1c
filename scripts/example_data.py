"""Write real data, which the aeon package ships, as tables to train on; score naive answers.

python scripts/example_data.py blood_pressure && grulight fit --config blood_pressure
python scripts/example_data.py conversations && grulight fit --config conversations
"""

import argparse
import csv
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from aeon.datasets import load_japanese_vowels, load_kdd_tsad_135
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from grulight import SequenceDataModule
from grulight.errors import InputError
from grulight.files import written_whole

WINDOW, HORIZON = 200, 20
BEATS = range(100, 300)  # steps among which the length of a heartbeat is looked for
TURNS = 4  # in a conversation


def blood_pressure() -> None:
    """Write one long series, the pulse wave of a blood pressure, and forecast it naively.

    It is InternalBleeding16 of the UCR anomaly archive, whose altered stretch, 12 steps, lies in
    what trains.
    """
    series = np.concatenate([load_kdd_tsad_135(part)[0].ravel() for part in ("train", "test")])
    path = Path("blood_pressure.csv")
    _write(path, ("time", "pressure"), enumerate(series.tolist()))
    data = SequenceDataModule(
        str(path), label="pressure", time="time", window=WINDOW, horizon=HORIZON
    )
    steps = np.array([int(each.rpartition("@")[2]) for each in data.parts.test.ids])
    known = series[: steps[0]]
    beat = max(BEATS, key=lambda lag: np.corrcoef(known[:-lag], known[lag:])[0, 1])
    for name, found in {
        "the last value": series[steps - HORIZON],
        f"the value one beat ({beat} steps) before": series[steps - beat],
        "the mean": np.full(len(steps), known.mean()),
    }.items():
        mae, rmse, r2 = (
            score(series[steps], found)
            for score in (mean_absolute_error, root_mean_squared_error, r2_score)
        )
        print(f"{name}: mae {mae:.3f}, rmse {rmse:.3f}, r2 {r2:.4f}")


def conversations() -> None:
    """Write recordings of nine speakers one after another, and name each frame's speaker naively.

    JapaneseVowels has one speaker in each recording. Four recordings, drawn at random, follow each
    other in a conversation; those that train and those that test stay apart as in the archive.
    """
    frames = {}
    for part, name in (("train", "conversations.csv"), ("test", "conversations_test.csv")):
        x, y = load_japanese_vowels(part)
        order = np.random.default_rng(0).permutation(len(x))
        rows = [
            (f"c{at // TURNS}", y[i], *frame)
            for at, i in enumerate(order.tolist())
            for frame in x[i].T.tolist()
        ]
        features = [f"cepstrum_{i}" for i in range(len(rows[0]) - 2)]
        _write(Path(name), ("sequence", "label", *features), rows)
        frames[part] = np.array([row[2:] for row in rows]), np.array([row[1] for row in rows])
    (x, y), (test_x, test_y) = frames["train"], frames["test"]
    most = max(set(y.tolist()), key=y.tolist().count)
    alone = LogisticRegression(max_iter=1000).fit(x, y).score(test_x, test_y)
    print(f"always the commonest speaker: accuracy {(test_y == most).mean():.4f}")
    print(f"each frame by itself (logistic regression): accuracy {alone:.4f}")


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with (
        written_whole(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        csv.writer(file).writerows([header, *rows])
    print(f"{path}: {path.stat().st_size:,} bytes")


SETS = {each.__name__: each for each in (blood_pressure, conversations)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a set into this directory and print the scores; return 2 for bad input."""
    parser = argparse.ArgumentParser(prog="example_data", description=__doc__.splitlines()[0])
    parser.add_argument("set", choices=sorted(SETS), help="what to write")
    try:
        SETS[parser.parse_args(arguments).set]()
    except InputError as error:
        print(f"example_data: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
