"""What a command imports: Lightning without what it does not use, which works once asked."""

import subprocess
import sys
from pathlib import Path

import pytest

_FIT = (
    "from grulight.cli import main; "
    "main(['fit', '--trainer.max_epochs', '1', '--trainer.accelerator', 'cpu'])"
)
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


def _printed(code: str, cwd: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("optimizer", ["", ", '--optimizer', 'torch.optim.AdamW'"])
def test_a_training_imports_neither_a_compiler_nor_what_reads_tables(
    tmp_path: Path, optimizer: str
) -> None:
    looks = f"import sys; print([m for m in {_UNUSED} if m in sys.modules])"
    fit = _FIT.replace("])", f"{optimizer}])")
    assert _printed(f"{fit}; {looks}", tmp_path)[-1] == "[]"


def test_what_was_left_out_is_there_when_it_is_asked_for(tmp_path: Path) -> None:
    assert _printed(_COMPILED, tmp_path) == ["False"]


def test_a_metric_is_drawn_by_matplotlib_which_waits_for_that(tmp_path: Path) -> None:
    assert _printed(_DRAWN, tmp_path) == ["[]"]


@pytest.mark.parametrize("meanwhile", [False, True], ids=["before", "meanwhile"])
def test_a_matplotlib_that_others_import_is_whole(tmp_path: Path, meanwhile: bool) -> None:
    drawn, metric = _DRAWN.replace("print(", "str("), "    from torchmetrics.c"
    before, within = "import matplotlib", "    import matplotlib.backends.backend_agg"
    drawn = drawn.replace(metric, f"{within}\n{metric}") if meanwhile else f"{before}\n{drawn}"
    assert _printed(drawn, tmp_path) == []


@pytest.mark.parametrize(
    "code", ["from torch._dynamo import config as found", "import torch._dynamo as found"]
)
def test_another_part_of_the_compiler_is_imported_even_meanwhile(tmp_path: Path, code: str) -> None:
    script = f"""
from grulight.commands.lean_imports import lean_imports
with lean_imports():
    {code}
    found.list_backends if hasattr(found, "list_backends") else found.cache_size_limit
import torch, sys
assert torch.compile(torch.nn.Linear(1, 1), backend="eager")(torch.ones(1, 1)).shape == (1, 1)
assert sys.modules["torch._dynamo"].list_backends
"""
    assert _printed(script, tmp_path) == []
