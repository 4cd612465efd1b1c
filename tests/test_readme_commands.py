"""Every command and every piece of Python that a README shows is run, in the README's order."""

import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.keras_files import kerasbytes as kb

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))

import example_data

ROOT = Path(__file__).parent.parent
READMES = (
    "README.md",
    "grulight/data/README.md",
    "grulight/keras_files/README.md",
    "parity/README.md",
)
# set up by who runs the tests, or of several processes, which tests/test_processes.py and
# tests/test_slurm.py start, or benchmarks
NOT_RUN = (
    *("python -m venv", ". .venv", "pip ", "pytest", "python scripts/benchmark.py"),
    *("TORCH_", "torchrun", "srun", "sbatch", "grulight fit --trainer.devices"),
)
TABLE = "sequence,time,label,temperature,pressure\n"


def blocks(readme: str, language: str) -> list[str]:
    text = (ROOT / readme).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.M | re.S)


def shown_lines(readme: str) -> Iterator[list[str]]:
    for block in blocks(readme, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.split(" && "):
                if not part.strip().startswith(NOT_RUN):
                    yield shlex.split(part, comments=True)


def write_files(folder: Path) -> None:
    """Write the files that the READMEs speak of."""
    rng = np.random.default_rng(0)
    rows = [
        f"run-{run},{step},{'ok' if run % 2 else 'leak'},{20 + rng.normal():.2f},{run % 2 + 1:.2f}"
        for run in range(40)
        for step in range(3 + run % 3)
    ]
    for name in ("mine.csv", "data.csv", "new.csv"):
        (folder / name).write_text(TABLE + "\n".join(rows) + "\n")
    x, y = rng.normal(size=(40, 7, 3)).astype(np.float32), np.arange(40) % 2
    for name in ("mine.npz", "new.npz"):
        np.savez(folder / name, x=x, y=y)
    kb.saved(folder, kb.legacy(*kb.small_model()), "old_model.h5")


@pytest.fixture
def folder(tmp_path: Path, run: Callable[..., str]) -> Path:
    write_files(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("readme", READMES)
def test_every_command_shown_runs(readme: str, folder: Path, run: Callable[..., str]) -> None:
    from parity.__main__ import main as parity

    if readme == "parity/README.md":  # which begins with the checkpoint of a run
        run("fit")
    lines = list(shown_lines(readme))
    assert lines
    for program, *arguments in lines:
        if program == "grulight":
            run(*arguments)
        elif arguments[0] == "scripts/example_data.py":
            assert example_data.main(arguments[1:]) == 0
        else:
            assert [program, *arguments[:2]] == ["python", "-m", "parity"]
            assert parity(arguments[2:]) == 0, arguments


# Keras 3.15 saves weights by what NumPy 2 deprecates, and these sequences are few
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
@pytest.mark.filterwarnings("ignore:The number of training batches")
@pytest.mark.slow
@pytest.mark.parametrize("readme", READMES[:1] + READMES[2:4])
def test_python_shown_runs(readme: str, folder: Path, run: Callable[..., str]) -> None:
    import keras
    import torch

    import grulight

    run("fit")
    layers = [keras.layers.GRU(4), keras.layers.Dense(2, activation="softmax")]
    keras_model = keras.Sequential([keras.Input((7, 3)), *layers])
    keras_model.save("model.keras")
    names: dict[str, Any] = {
        "sequences": torch.randn(4, 7, 3),
        "torch_model": grulight.load_keras("model.keras"),
        "keras_model": keras_model,
    }
    for block in blocks(readme, "python"):
        code = block.replace("randn(8, 10, 5)", "randn(8, 7, 3)")
        exec(compile(code, readme, "exec"), names)
    for name, test in list(names.items()):
        if name.startswith("test_"):
            test()
