import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

# RLIMIT_DATA limits what a process may write to in memory (Linux 4.7), not the address space: that
# holds all of torch's code and each mapped file, which the kernel drops from memory when it likes.
SCRIPT = """
import resource
import sys
from functools import partial

import numpy as np
import torch
from rich.console import Console

from grulight.data.batches import Batches, shuffled
from grulight.data.readers import ReadOptions, read
from grulight.data.statistics import feature_statistics
from grulight.model import GRUNet
from grulight.commands.pack import packed

torch.set_num_threads(1)
source, target, labels, budget, action = sys.argv[1:]
model = GRUNet(20, 3, hidden_size=8)
optimizer = torch.optim.SGD(model.parameters(), 0.01)


def step(batch):
    loss = torch.nn.functional.cross_entropy(model(batch.values, batch.lengths), batch.labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


some = Batches(read("waves").part(0, 500), 500)
[first] = some
step(first._replace(values=torch.zeros(500, 100, 20)))  # what torch takes to train at all
with open("/proc/self/status") as file:
    now = next(int(line.split()[1]) for line in file if line.startswith("VmData"))
limit = now * 1024 + int(budget)
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
if action == "load":
    values = np.load(source)
elif action == "pack":
    packed(source, target, ReadOptions(labels_file=labels), Console())
else:
    sequences = read(target)
    print(feature_statistics(sequences)[1].mean())
    for batch in Batches(sequences, 500, partial(shuffled, len(sequences), 0)):
        step(batch)
"""


def make(folder: Path, count: int) -> tuple[Path, Path]:
    source, labels = folder / "x.npy", folder / "y.npy"
    values = np.lib.format.open_memmap(source, "w+", np.float32, (count, 100, 20))
    for start in range(0, count, 2500):
        values[start : start + 2500] = np.random.default_rng(start).random((1, 100, 20))
    np.save(labels, np.arange(count) % 3)
    return source, labels


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts mappings on Linux alone")
@pytest.mark.parametrize(
    ("count", "budget"),
    [
        pytest.param(37_500, 150_000_000, id="300 MB in 150 MB"),
        pytest.param(250_000, 1_000_000_000, id="2 GB in 1 GB"),
    ],
)
def test_data_larger_than_memory_is_packed_and_trained_on(
    tmp_path: Path, count: int, budget: int
) -> None:
    source, labels = make(tmp_path, count)

    def run(action: str) -> subprocess.CompletedProcess[str]:
        arguments = (source, tmp_path / "packed", labels, budget, action)
        return subprocess.run(
            [sys.executable, "-c", SCRIPT, *map(str, arguments)], capture_output=True, text=True
        )

    # the limit is one: what holds the data in memory fails
    assert "MemoryError" in run("load").stderr
    for action in ("pack", "train"):
        done = run(action)
        assert done.returncode == 0, done.stderr
