"""No file takes more memory than three times its size and 200 MB, or more than seconds."""

import json
import subprocess
import sys
from pathlib import Path

import greedy
import kerasbytes as kb
import pytest

SECONDS = 8.0
# One process for all files: importing torch takes longer than refusing them.
PROBE = """
import json, sys, time
import grulight
from grulight.errors import InputError
config = {"class_name": "Sequential", "config": {"layers": [
    {"class_name": "Dense", "config": {"units": 1, "trainable": True}}]}}

def memory(key):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(key)) << 10

def measured(path):
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak begins anew
    before, start = memory("VmRSS"), time.process_time()
    try:
        grulight.load_keras(path, config=config)
        said = "a model"
    except InputError as error:
        said = str(error)
    return said, memory("VmHWM") - before, time.process_time() - start

for path in sys.argv[1:]:
    print(json.dumps(measured(path)), flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from Linux")
def test_greedy_files_are_refused_within_their_bounds(tmp_path: Path) -> None:
    paths = []
    # the first makes torch import what it imports on first use
    for name, build in {"good": lambda: kb.legacy(*kb.small_model()), **greedy.FILES}.items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(build())
    probe = [sys.executable, "-c", PROBE, *map(str, paths)]
    lines = subprocess.run(probe, capture_output=True, text=True, check=True).stdout.splitlines()
    figures = {path: json.loads(line) for path, line in zip(paths[1:], lines[1:], strict=True)}
    for path, (said, grown, seconds) in figures.items():
        assert said.startswith(str(path)), said
        assert grown < 3 * path.stat().st_size + (200 << 20), (path.name, grown)
        assert seconds < SECONDS, (path.name, seconds)
