"""What a command imports: Lightning without what it does not use, which works once asked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_FIT = """
import sys
from grulight.cli import main
short = ["fit", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"]
for optimizer in ([], ["--optimizer", "torch.optim.AdamW"]):
    assert main([*short, *optimizer]) == 0
"""
_UNUSED = ("torch._dynamo", "pyarrow", "scipy.signal")
_COMPILED = """
import sys
from grulight.commands.lean_imports import lean_imports
with lean_imports():
    import lightning.pytorch as pl
from lightning.fabric.wrappers import _unwrap_compiled
from torch import nn, optim
from torch.utils.flop_counter import FlopCounterMode
import torch
plain = nn.Linear(2, 2)
optimizer = optim.SGD(plain.parameters())
assert not isinstance(plain, sys.modules["lightning.fabric.wrappers"].OptimizedModule)
optimizer.step()
print("torch._dynamo" in sys.modules)
optimizer.zero_grad()
compiled = torch.compile(plain, backend="eager")
assert torch.equal(compiled(torch.ones(1, 2)), plain(torch.ones(1, 2)))
assert _unwrap_compiled(compiled)[0] is plain
optimizer.zero_grad()
compiled(torch.ones(1, 2)).sum().backward()
before = plain.weight.clone()
torch.compile(optimizer.step, backend="eager")()
assert torch.allclose(plain.weight, before - 1e-3 * plain.weight.grad)
assert torch._dynamo.config is sys.modules["torch._dynamo.config"]
import gc
import scipy
assert gc.isenabled()
assert scipy.signal.lfilter is sys.modules["scipy.signal"].lfilter
counter = pl.utilities.model_summary.ModelSummary(pl.LightningModule())._flop_counter
assert isinstance(counter, FlopCounterMode)
"""
_DRAWN = """
import sys
from grulight.commands.lean_imports import lean_imports
with lean_imports():
    from torchmetrics.classification import MulticlassAccuracy
    from torchmetrics.utilities import plot
print([name for name in sys.modules if name.startswith("matplotlib")])
import torch
assert not isinstance(3, plot._AX_TYPE)
metric = MulticlassAccuracy(3)
metric.update(torch.tensor([0, 1]), torch.tensor([0, 2]))
_, axes = metric.plot()
import matplotlib.axes
assert type(axes) is matplotlib.axes.Axes
assert isinstance(axes, plot._AX_TYPE)
"""


_MATPLOTLIB = {
    "before": f"import matplotlib\n{_DRAWN}",
    "meanwhile": _DRAWN.replace(
        "    from torchmetrics.c",
        "    import matplotlib.backends.backend_agg\n    from torchmetrics.c",
    ),
}
_COMPILERS = ("from torch._dynamo import config as found", "import torch._dynamo as found")
_MEANWHILE = """
from grulight.commands.lean_imports import lean_imports
with lean_imports():
    {code}
    found.list_backends if hasattr(found, "list_backends") else found.cache_size_limit
import torch, sys
assert torch.compile(torch.nn.Linear(1, 1), backend="eager")(torch.ones(1, 1)).shape == (1, 1)
assert sys.modules["torch._dynamo"].list_backends
"""
_FORKS = """
import os, sys
import torch.optim  # what lean_imports begins with: once for all
for number, code in enumerate(sys.argv[1:]):
    if not (child := os.fork()):
        for stream in (1, 2):
            os.dup2(os.open(f"{number}.{stream}", os.O_CREAT | os.O_WRONLY), stream)
        exec(code, {"__name__": "__main__"})
        sys.exit()
    os.waitpid(child, 0)
"""


def _run(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return what each script prints, or what it ended with, each in a process of its own."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    folder = tmp_path_factory.mktemp("scripts")
    scripts = {"compiled": _COMPILED, "drawn": _DRAWN, **_MATPLOTLIB}
    scripts |= {code: _MEANWHILE.format(code=code) for code in _COMPILERS}
    ended = [f"{code}\nprint('ended')" for code in scripts.values()]
    _run(folder, _FORKS, *ended)
    found = {}
    for number, name in enumerate(scripts):
        said, errors = ((folder / f"{number}.{stream}").read_text() for stream in (1, 2))
        found[name] = said if said.endswith("ended\n") else said + errors
    return found


def test_a_training_imports_neither_a_compiler_nor_what_reads_tables(tmp_path: Path) -> None:
    _run(tmp_path, f"{_FIT}assert not [m for m in {_UNUSED} if m in sys.modules]")


def test_what_was_left_out_is_there_when_it_is_asked_for(printed: dict[str, str]) -> None:
    assert printed["compiled"] == "False\nended\n"


def test_a_metric_is_drawn_by_matplotlib_which_waits_for_that(printed: dict[str, str]) -> None:
    assert printed["drawn"] == "[]\nended\n"


@pytest.mark.parametrize("when", _MATPLOTLIB)
def test_a_matplotlib_that_others_import_is_whole(printed: dict[str, str], when: str) -> None:
    assert printed[when].endswith("]\nended\n")


@pytest.mark.parametrize("code", _COMPILERS)
def test_another_part_of_the_compiler_is_imported_even_meanwhile(
    printed: dict[str, str], code: str
) -> None:
    assert printed[code] == "ended\n"
