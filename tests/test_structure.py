import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted([*ROOT.glob("grulight/**/*.py"), *ROOT.glob("parity/**/*.py")])

# importer → what it must never import (DESIGN: import arrows)
FORBIDDEN = {
    "grulight/": {"parity", "tensorflow", "keras", "tf_keras"},
    "grulight/model.py": {"lightning", "grulight.task", "grulight.data", "grulight.cli"},
    "grulight/kernels/": {"grulight.model", "grulight.task", "lightning"},
    "parity/": {"tensorflow", "keras"},
}
# their name says which files of the proof speak Keras
SPEAKS_KERAS = "parity/keras_"


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_arrows(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    forbidden = set().union(*(f for start, f in FORBIDDEN.items() if name.startswith(start)))
    if name.startswith(SPEAKS_KERAS):
        forbidden = forbidden - {"tensorflow", "keras"}
    found = {
        module
        for module in imports(path)
        if any(module == bad or module.startswith(f"{bad}.") for bad in forbidden)
    }
    assert not found


@pytest.mark.parametrize(
    "code", ["import grulight", "from grulight.cli import main; main(['--help'])"]
)
def test_start_imports_nothing_heavy(code: str) -> None:
    script = f"""
import sys
try:
    {code}
except SystemExit:
    pass
print([m for m in ("torch", "lightning", "numpy", "tensorflow", "rich") if m in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_lazy_names_lead_to_their_objects() -> None:
    import grulight

    for name in grulight.__all__:
        assert getattr(grulight, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = grulight.nonsense
