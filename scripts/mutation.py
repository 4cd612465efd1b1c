"""Put one bug after another into a copy of the source; see whether the proof and the tests notice.

Each mutant is a patch of a line or two. For each, `parity check` is run on a model that uses the
part, and the tests that cover it; the copy is then as before. A mutant is caught by the proof where
its exit code is not 0, by the tests where one of them fails.
"""

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from mutants.child import preload, run_in_child
from mutants.models import prepared
from mutants.mutant import Mutant, mutants
from mutants.table import into_readme, table

ROOT = Path(__file__).parent.parent
COPIED = ("grulight", "parity", "tests", "scripts", "pyproject.toml", "README.md", "LICENSE")
WORK = ROOT / "build" / "mutation"
FOUND = WORK / "found.json"


@contextmanager
def mutated(tree: Path, mutant: Mutant) -> Iterator[None]:
    """Let a copy have a bug for a while, with another date: Python's cache goes by that."""
    path = tree / mutant.file
    text, stat = path.read_text(), path.stat()
    path.write_text(mutant.patched(tree))
    try:
        yield
    finally:
        path.write_text(text)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def copied() -> Path:
    """Copy the source to where it is mutated; dates stay, and with them what is compiled."""
    tree = WORK / "tree"
    for name in COPIED:
        if (tree / name).is_dir():
            shutil.rmtree(tree / name)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name)
        else:
            tree.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    return tree


def tried(tree: Path, mutant: Mutant) -> dict[str, object]:
    """Return who notices a bug, and what they say."""
    compiled = mutant.file.startswith("grulight/kernels/numba_")
    kernels = WORK / ("mutated_kernels" if compiled else "kernels")
    shutil.rmtree(WORK / "mutated_kernels", ignore_errors=True)
    model = None if mutant.check is None else prepared(mutant.check, tree, WORK)
    with mutated(tree, mutant):
        check = None if model is None else run_in_child("check", tree, kernels, model)
        tests = run_in_child("tests", tree, kernels, *mutant.tests) if mutant.tests else None
    return {
        "check": None if check is None else check.code,
        "said": "" if check is None else check.last,
        "tests": None if tests is None else tests.code,
        "failed": "" if tests is None else tests.last,
    }


def require_sound(tree: Path, chosen: Sequence[Mutant]) -> None:
    """Check that proof and tests pass where there is no bug.

    Raises:
        SystemExit: One does not.
    """
    tests = dict.fromkeys(test for m in chosen for test in m.tests)
    for check in dict.fromkeys(m.check for m in chosen if m.check is not None):
        run = run_in_child("check", tree, WORK / "kernels", prepared(check, tree, WORK))
        print(f"  without a bug: {check}: {run.code} ({run.seconds:.0f} s)", flush=True)
        if run.code != 0:
            raise SystemExit(f"parity check of {check}: {run.code} without a bug\n{run.last}")
    if tests:
        run = run_in_child("tests", tree, WORK / "kernels", *tests, longest=3600)
        print(f"  without a bug: tests: {run.code} ({run.seconds:.0f} s)", flush=True)
        if run.code != 0:
            raise SystemExit(f"the tests fail without a bug: {run.last}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Try mutants; return 1 where one is noticed by nobody."""
    parser = argparse.ArgumentParser(prog="mutation.py", description=__doc__)
    parser.add_argument("words", nargs="*", help="only mutants whose part or name has such a word")
    parser.add_argument("--trust", action="store_true", help="do not try the tree without a bug")
    parser.add_argument("--left", action="store_true", help="only those that were not tried yet")
    parser.add_argument("--again", action="store_true", help="only those somebody let through")
    parser.add_argument("--readme", action="store_true", help="write the table from what was found")
    options = parser.parse_args(arguments)
    every = mutants()
    found = json.loads(FOUND.read_text()) if FOUND.exists() else {}
    if options.readme:
        changed = [m.name for m in every if found.get(m.name, {}).get("of") != m.state(ROOT)]
        into_readme(ROOT / "parity" / "README.md", table(every, found, changed))
        return 0
    chosen = [m for m in every if _wanted(m, options.words)]
    if options.left:
        chosen = [m for m in chosen if m.name not in found]
    if options.again:
        chosen = [m for m in chosen if not _caught_by_all(m, found.get(m.name, {}))]
    for mutant in every:
        mutant.patched(ROOT)
    tree = copied()
    preload()
    if not options.trust:
        require_sound(tree, chosen)
    for mutant in sorted(chosen, key=lambda each: each.check is not None):  # the quick ones first
        began = time.monotonic()
        found[mutant.name] = result = tried(tree, mutant)
        day, state = f"{datetime.now(tz=UTC):%d %B %Y}", mutant.state(tree)
        result |= {"day": day, "of": state, "sound": not options.trust}
        who = f"check {result['check']}, tests {result['tests']}"
        spent = f"{time.monotonic() - began:.0f} s"
        print(f"{mutant.part}: {mutant.name}: {who} ({spent})", flush=True)
        FOUND.write_text(json.dumps(found, indent=1))
    print(table(every, found))
    missed = [m.name for m in chosen if not (found[m.name]["check"] or found[m.name]["tests"])]
    print(*(f"nobody noticed: {name}" for name in missed), sep="\n")
    return int(bool(missed))


def _wanted(mutant: Mutant, words: Sequence[str]) -> bool:
    return not words or any(word in f"{mutant.part}: {mutant.name}" for word in words)


def _caught_by_all(mutant: Mutant, result: dict[str, object]) -> bool:
    caught = [result.get("check")] if mutant.check is not None else []
    return all([*caught, result.get("tests")])


if __name__ == "__main__":
    sys.exit(main())
