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
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import yaml
from mutants.child import preload, run_in_child
from mutants.models import OWN, prepared
from mutants.table import into_readme, table

ROOT = Path(__file__).parent.parent
COPIED = ("grulight", "parity", "tests", "scripts", "pyproject.toml", "README.md", "LICENSE")
WORK = ROOT / "build" / "mutation"
FOUND = WORK / "found.json"


@dataclass(frozen=True)
class Mutant:
    """A bug that somebody could write.

    Attributes:
        name: What a user would lose, unlike any other's.
        part: What it is in.
        arithmetic: Whether the part is among those that the proof stands for.
        file: Where, below the root.
        old: What is there now, once.
        new: What stands there instead.
        check: What `parity check` is run on; None where the proof does not concern the part.
        tests: The tests that cover the part, in pytest's words.
    """

    name: str
    part: str
    arithmetic: bool
    file: str
    old: str
    new: str
    check: str | None
    tests: tuple[str, ...]

    def patched(self, root: Path) -> str:
        """Return the file with the bug.

        Raises:
            ValueError: The line is not there once.
        """
        text = (root / self.file).read_text()
        if text.count(self.old) != 1:
            found = text.count(self.old)
            raise ValueError(f"{self.name}: {self.old!r} is {found} times in {self.file}, not once")
        return text.replace(self.old, self.new)


def mutants() -> list[Mutant]:
    """Read all mutants; a part gives its own what they do not say themselves."""
    found = []
    for path in sorted(Path(__file__).with_name("mutants").glob("*.yaml")):
        for part in yaml.safe_load(path.read_text()):
            for held in part["mutants"]:
                given = {"check": part.get("check"), "tests": part.get("tests", []), **held}
                given |= {"tests": (*given["tests"], *_test_of(given["check"]))}
                given.setdefault("file", part.get("file"))
                found.append(Mutant(part=part["part"], arithmetic=part["arithmetic"], **given))
    return found


def _test_of(check: str | None) -> list[str]:
    """Return the test of outputs and gradients that a named case of the tests has."""
    keras, _, case = (check or "").partition(": ")
    if keras not in ("keras 2", "keras 3") or case in OWN:
        return []
    test = f"test_outputs_and_gradients_match_keras_{keras[-1]}"
    return [f"tests/keras_files/test_keras_parity.py::{test}[{case}]"]


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
        run = run_in_child("tests", tree, WORK / "kernels", *tests)
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
        into_readme(ROOT / "parity" / "README.md", table(every, found))
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
        result |= {"day": f"{datetime.now(tz=UTC):%d %B %Y}", "sound": not options.trust}
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
