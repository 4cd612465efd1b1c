import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted([*ROOT.glob("grulight/**/*.py"), *ROOT.glob("parity/**/*.py")])
NAMES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in FILES
}

# Rooms from the ground up: a file imports its own room and those before it. The longest prefix
# counts, so that a package may stand above rooms of its own.
ROOMS = (
    ("grulight.errors", "grulight.files", "grulight.extras"),
    ("grulight.kernels",),
    (
        *("grulight.model", "grulight.logits", "grulight.heads", "grulight.init"),
        *("grulight.optimizer_base", "grulight.optim", "grulight.schedules"),
        *("grulight.adam_variants", "grulight.adagrad_variants"),
    ),
    ("grulight.checkpoint_files",),
    ("grulight.data",),
    ("grulight.keras_files.reader",),
    ("grulight.keras_files.plan",),
    ("grulight.keras_files.layers",),
    ("grulight.keras_files",),
    ("grulight.training",),
    ("grulight.runs",),
    ("grulight.trace",),
    ("grulight.tuning",),
    ("grulight.exporting",),
    ("grulight.estimators",),
    ("grulight.commands",),
    ("grulight",),
    (
        *("parity.question", "parity.cases", "parity.questions_by_rung"),
        *("parity.compare", "parity.tolerances"),
    ),
    ("parity.sides",),
    ("parity.controls",),
    (
        *("parity.rungs", "parity.control_findings", "parity.result"),
        *("parity.distribution", "parity.repeatability"),
    ),
    ("parity.keras_files",),
    ("parity.report",),
    ("parity",),
)
FLOORS = {prefix: floor for floor, room in enumerate(ROOMS) for prefix in room}

# importer → packages that it must never import
FORBIDDEN = {
    "grulight": {"parity", "tensorflow", "keras", "tf_keras"},
    "grulight.model": {"lightning"},
    "grulight.kernels": {"lightning"},
    "parity": {"tensorflow", "keras", "tf_keras"},
}
SPEAKS_KERAS = "keras_"  # the names of the proof's files that may import Keras begin so


def floor_of(module: str) -> int:
    """Return the floor of the room that a module is in."""
    parts = module.split(".")
    prefixes = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next(FLOORS[prefix] for prefix in prefixes if prefix in FLOORS)


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Return a file's imports and classes."""
    kinds = (ast.Import, ast.ImportFrom, ast.ClassDef)
    return tuple(each for each in ast.walk(ast.parse(path.read_text())) if isinstance(each, kinds))


def imports(path: Path) -> Iterator[str]:
    """Yield what a file imports, anywhere in it: also within functions and for type checkers."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in NAMES else node.module


def own_imports(name: str) -> set[str]:
    return {each for each in imports(NAMES[name]) if each in NAMES and each != name}


def test_a_file_imports_its_own_room_and_those_below() -> None:
    above = {name: {n for n in own_imports(name) if floor_of(n) > floor_of(name)} for name in NAMES}
    assert not {name: found for name, found in above.items() if found}


def test_no_imports_go_in_a_circle() -> None:
    graph = {name: own_imports(name) for name in NAMES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' → '.join(error.args[1])}")


def forbidden(name: str) -> set[str]:
    """Return the packages that a file must not import."""
    if name.startswith("parity.") and name.rpartition(".")[2].startswith(SPEAKS_KERAS):
        return set()
    kept_out = (each for room, each in FORBIDDEN.items() if f"{name}.".startswith(f"{room}."))
    return set().union(*kept_out)


def test_a_room_keeps_out_what_does_not_belong_in_it() -> None:
    roots = {name: {each.partition(".")[0] for each in imports(NAMES[name])} for name in NAMES}
    found = {name: each & forbidden(name) for name, each in roots.items()}
    assert not {name: each for name, each in found.items() if each}


def test_a_file_has_one_job() -> None:
    lines = {name: path.read_text().count("\n") for name, path in NAMES.items()}
    most = {name: 350 if name.startswith("grulight.kernels.") else 200 for name in NAMES}
    assert not {name: count for name, count in lines.items() if count > most[name]}


def test_no_callback_takes_a_name_of_lightnings() -> None:
    # ``--trainer.callbacks EarlyStopping`` finds a class by its name among all that are imported
    from lightning.pytorch import callbacks

    ours = {
        node.name
        for path in NAMES.values()
        for node in nodes(path)
        if isinstance(node, ast.ClassDef)
    }
    assert not ours & set(callbacks.__all__)


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
