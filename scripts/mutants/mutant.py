"""A bug that somebody could write, and all that are listed in the files beside this one."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import yaml
from mutants.models import OWN


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

    def state(self, root: Path) -> str:
        """Return what tells the file and its tests from later ones."""
        files = [self.file, *dict.fromkeys(test.partition("::")[0] for test in self.tests)]
        texts = b"".join((root / each).read_bytes() for each in files)
        return hashlib.sha256(texts).hexdigest()[:16]

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
    for path in sorted(Path(__file__).parent.glob("*.yaml")):
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
