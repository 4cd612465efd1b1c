"""The mutation run: its bugs fit today's source, and none gets past everybody."""

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import mutation  # noqa: E402 - the scripts are no package
from mutants.old_files import BYTES  # noqa: E402
from mutants.table import table  # noqa: E402

MUTANTS = mutation.mutants()


def test_there_are_many_in_every_part_and_each_has_a_name_of_its_own() -> None:
    assert len(MUTANTS) >= 60
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_every_bug_fits_the_source_once_and_is_python() -> None:
    for mutant in MUTANTS:
        ast.parse(mutant.patched(ROOT))


def test_a_line_that_is_no_longer_there_is_an_error() -> None:
    gone = replace(MUTANTS[0], old="no such line")
    with pytest.raises(ValueError, match="is 0 times in"):
        gone.patched(ROOT)


def test_every_bug_is_tried_on_a_model_and_on_tests_that_exist() -> None:
    for mutant in MUTANTS:
        assert mutant.tests, mutant.name
        for test in mutant.tests:
            assert (ROOT / test.partition("::")[0]).exists(), mutant.name
        kind, _, case = (mutant.check or "record: ").partition(": ")
        assert kind in ("record", "keras 2", "keras 3", "bytes")
        assert kind != "bytes" or case in BYTES


def test_the_copy_is_as_before_once_a_bug_is_taken_out(tmp_path: Path) -> None:
    mutant = MUTANTS[0]
    (tmp_path / mutant.file).parent.mkdir(parents=True)
    copy = tmp_path / mutant.file
    copy.write_bytes((ROOT / mutant.file).read_bytes())
    before = copy.stat().st_mtime_ns
    with mutation.mutated(tmp_path, mutant):
        assert mutant.new in copy.read_text()
    assert copy.read_bytes() == (ROOT / mutant.file).read_bytes()
    assert copy.stat().st_mtime_ns == before


def test_the_table_counts_who_noticed() -> None:
    first, second = MUTANTS[:2]
    found = {first.name: {"check": 1, "tests": 0}, second.name: {"check": 0, "tests": 0}}
    row = table([first, second], found).splitlines()[2]
    assert row == f"| {first.part} | 2 | 1 of 2 | 0 | 1 | {second.name} |"


@pytest.mark.slow
def test_no_bug_gets_past_both_the_proof_and_the_tests() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "mutation.py"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
