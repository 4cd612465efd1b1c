import contextlib
import gc
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from grulight.cli import main

# Lightning 2.6 uses what newer jsonargparse deprecates; this is jsonargparse's own switch
os.environ["JSONARGPARSE_DEPRECATION_WARNINGS"] = "off"

# before anybody imports Triton: without a GPU its kernels are run by its interpreter
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
# and before TensorFlow: after it, their two copies of LLVM end the process
with contextlib.suppress(ImportError):
    import_module("triton")

# each of pytest's workers has one core: more threads would wait for each other
torch.set_num_threads(1)
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the programs that tests start
# they are interrupted too, which a shell's background jobs and all that these start would ignore
signal.signal(signal.SIGINT, signal.default_int_handler)

gc.disable()  # until all is collected: what is imported stays


def pytest_collection_finish() -> None:
    gc.freeze()  # no use in going through it again and again
    gc.enable()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # Triton tells of what is left at the end


def run_command(*arguments: object) -> str:
    """Run a command that must succeed; return what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main([str(argument) for argument in arguments]) == 0
    return printed.getvalue()


@pytest.fixture(scope="session")
def run() -> Callable[..., str]:
    return run_command


@pytest.fixture(scope="session")
def default_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return the run directory of `grulight fit` with nothing configured, and what it printed."""
    root = tmp_path_factory.mktemp("default")
    printed = run_command("fit", "--trainer.default_root_dir", root)
    return root / "lightning_logs" / "version_0", printed


@pytest.fixture(scope="session")
def last_checkpoint(default_run: tuple[Path, str]) -> Path:
    return default_run[0] / "checkpoints" / "last.ckpt"


@pytest.fixture
def drawn() -> None:
    """Let the commands of a test draw the confusion matrix, as they do for a user."""


@pytest.fixture(autouse=True)
def _undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave an empty picture where no test looks at it: drawing takes half of a short run."""
    commands = sys.modules.get("grulight.commands.running")
    if commands and "drawn" not in request.fixturenames:
        monkeypatch.setattr(commands, "save_confusion_picture", lambda *given: given[-1].touch())


@pytest.fixture(autouse=True)
def _own_directory_seed_and_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    np.random.seed(0)  # what third parties draw from
    yield
    if keras := sys.modules.get("keras"):
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy("float32")
