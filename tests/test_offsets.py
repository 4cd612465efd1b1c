"""A feature that float32 cannot hold is read less an offset, in training and ever after."""

import csv
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from grulight.data.datamodule import SequenceDataModule
from grulight.data.readers import ReadOptions, read
from grulight.errors import InputError
from grulight.runs.checkpoint import load_classifier

Run = Callable[..., str]
LARGE = 1e9
RNG = np.random.default_rng(3)
LABELS = np.arange(40) % 2
PHASES = RNG.uniform(0, 6, 40)
WAVE = np.sin(np.arange(8) * np.where(LABELS, 1.6, 0.6)[:, None] + PHASES[:, None])
X = np.stack([LARGE + WAVE, RNG.normal(size=WAVE.shape)], axis=2)


def npz_file(x: NDArray[np.float64], name: str = "a.npz") -> str:
    np.savez(name, x=x, y=LABELS)
    return name


def packed_small(x: NDArray[np.float64]) -> str:
    np.savez_compressed("c.npz", x=x, y=LABELS)
    return "c.npz"


def csv_file(x: NDArray[np.float64], name: str = "a.csv") -> str:
    with open(name, "w", newline="") as file:
        write = csv.writer(file)
        write.writerow(["sequence", "time", "label", "a", "b"])
        for n, t in np.ndindex(x.shape[:2]):
            write.writerow([f"s{n}", t, LABELS[n], *(repr(float(each)) for each in x[n, t])])
    return name


def parquet_file(x: NDArray[np.float64]) -> str:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    n, t = (each.ravel() for each in np.indices(x.shape[:2]))
    columns = {"sequence": n, "time": t, "label": LABELS[n], "a": x[n, t, 0], "b": x[n, t, 1]}
    parquet.write_table(arrow.table(columns), "a.parquet")
    return "a.parquet"


KINDS = {"csv": csv_file, "parquet": parquet_file, "mapped": npz_file, "compressed": packed_small}


@pytest.mark.parametrize("kind", KINDS)
def test_no_source_loses_digits_where_it_is_standardised(kind: str) -> None:
    data = SequenceDataModule(KINDS[kind](X), standardize=True)
    assert data.offset is not None
    assert data.offset[1] == 0
    held = np.asarray(data.parts.train.values[:, :])
    assert held.dtype == np.float32
    np.testing.assert_array_equal(held, (X[:32] - data.offset).astype(np.float32))
    [note] = data.notes
    assert "is subtracted from feature" in note
    assert "loses digits" not in note


@pytest.mark.parametrize("kind", KINDS)
def test_what_float32_holds_is_read_as_ever(kind: str) -> None:
    source = KINDS[kind](X - [LARGE, 0])
    plain, scaled = SequenceDataModule(source), SequenceDataModule(source, standardize=True)
    assert scaled.offset is None
    ours, theirs = (np.asarray(each.parts.train.values) for each in (scaled, plain))
    np.testing.assert_array_equal(ours, theirs)
    assert ours.dtype == theirs.dtype


@pytest.mark.parametrize("kind", KINDS)
def test_without_standardisation_the_loss_of_digits_is_said(kind: str) -> None:
    data = SequenceDataModule(KINDS[kind](X))
    assert data.parts.train.offset is None
    assert any("loses digits" in note and "standardize=True" in note for note in data.notes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Path:
    root = tmp_path_factory.mktemp("trained")
    csv_file(X, str(root / "a.csv"))
    run("fit", "--data.source", root / "a.csv", "--data.standardize", "true",
        "--optimizer", "KerasAdam", "--optimizer.lr", 0.03, "--trainer.max_epochs", 15,
        "--trainer.default_root_dir", root)  # fmt: skip
    [checkpoint] = root.rglob("last.ckpt")
    return checkpoint


def test_every_command_subtracts_what_the_training_did(run: Run, trained: Path) -> None:
    source, config = trained.parents[3] / "a.csv", trained.parents[1] / "config.yaml"
    for more in ([], ["--config", config]):
        tested = run("test", *more, "--ckpt_path", trained, "--data.source", source)
        assert re.search(r"accuracy +1\.0000", tested)
    run("predict", "--ckpt_path", trained, "--data.source", source, "--output", "p.csv")
    with open("p.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    shares = np.array([[float(row[f"probability_{n}"]) for n in "01"] for row in rows])
    np.testing.assert_allclose(shares, load_classifier(trained).predict_proba(X), atol=1e-6)
    assert (shares.argmax(axis=1) == LABELS).all()
    assert "is subtracted from feature 'a'" in run("trace", trained, "-o", "page.html")
    assert "less an offset" in Path("page.html").read_text()


def test_a_source_that_lost_the_digits_is_read_in_the_same_place(run: Run, trained: Path) -> None:
    lossy = np.load(npz_file(X.astype(np.float32).astype(np.float64)))["x"]
    run("pack", npz_file(lossy, "l.npz"), "-o", "packed")
    offset = tuple(load_classifier(trained).hparams["offset"])
    found = read("packed", ReadOptions(offset=offset)).values
    np.testing.assert_array_equal(np.asarray(found), (lossy - offset).astype(np.float32))


def test_an_export_says_what_is_to_be_subtracted_first(run: Run, trained: Path) -> None:
    pytest.importorskip("onnx")
    assert "subtract first" in run("export", trained, "-o", "model.onnx")


def test_offsets_that_do_not_fit_are_refused() -> None:
    for kind in (csv_file, npz_file):
        with pytest.raises(InputError, match="has 2 features per time step, expected 1"):
            read(kind(X), ReadOptions(offset=(1.0,)))
    with pytest.raises(InputError, match="expected finite numbers"):
        read("waves", ReadOptions(offset=(float("nan"),) * len(read("waves").feature_names)))
