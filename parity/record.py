"""Freeze what TensorFlow computed in one safetensors file, and answer from it later.

The file holds every question, every answer in both precisions, Keras' noise floors, and, as
metadata, versions and the SHA-256 of the whole file with that hash's own digits set to zero. Any
changed byte is therefore noticed. Arrays that occur twice are stored once.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from grulight.errors import InputError
from grulight.files import written_whole
from parity.check import PRECISIONS, Floors, Theirs
from parity.question import Array, Arrays, Network, Question, cast

FORMAT = "grulight parity record 1"
BLANK = "0" * 64
DIGITS = re.compile(rb'"sha256":"([0-9a-f]{64})"')


class Store:
    """Arrays under keys that their content decides."""

    def __init__(self) -> None:
        self.arrays: Arrays = {}

    def put(self, arrays: Mapping[str, Array]) -> dict[str, str]:
        """Store arrays; return the key of each name."""
        return {name: self._key(np.asarray(array, order="C")) for name, array in arrays.items()}

    def _key(self, array: Array) -> str:
        content = f"{array.dtype.str} {array.shape} ".encode() + array.tobytes()
        key = hashlib.sha256(content).hexdigest()[:16]
        self.arrays[key] = array
        return key


def write_record(
    path: str | Path,
    questions: Sequence[Question],
    theirs: Theirs,
    facts: Mapping[str, Any],
) -> None:
    """Ask ``theirs`` every question in both precisions and write what it says.

    Args:
        path: The file.
        questions: In float64, with numbers that float32 holds exactly.
        theirs: The running side.
        facts: What was recorded: target, hash of the weights, versions, notes.
    """
    store = Store()
    entries = [_entry(store, question, theirs) for question in questions]
    manifest = json.dumps({"facts": dict(facts), "questions": entries})
    metadata = {"format": FORMAT, "manifest": manifest, "sha256": BLANK}
    content = safetensors.numpy.save(store.arrays, metadata)
    sealed = DIGITS.sub(b'"sha256":"' + _digest(content).encode() + b'"', content, count=1)
    with written_whole(path) as temporary:
        temporary.write_bytes(sealed)


def _entry(store: Store, question: Question, theirs: Theirs) -> dict[str, Any]:
    answers, floors = {}, {}
    for dtype in PRECISIONS:
        asked = question.as_dtype(dtype)
        answer = theirs(asked)
        answers[dtype] = store.put(answer)
        if dtype == "float32" and question.task != "weights":
            floors = dict(theirs.floors(asked, answer))
    return {
        "name": question.name,
        "task": question.task,
        "network": vars(question.network),
        "settings": dict(question.settings),
        "weights": store.put(cast(question.weights, "float32")),
        "inputs": store.put(cast(question.inputs, "float32")),
        "answers": answers,
        "floors": floors,
    }


class Record:
    """A recorded side: the questions it was asked, and its answers.

    Args:
        path: A file of ``write_record``.

    Raises:
        InputError: The file is missing, damaged, changed, or something else.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self._arrays, manifest = _read(path)
        self.facts: dict[str, Any] = manifest["facts"]
        self._entries: dict[str, dict[str, Any]] = {}
        self.questions = [self._question(entry) for entry in manifest["questions"]]

    def __call__(self, question: Question) -> Arrays:
        """Return the recorded answer."""
        return self._get(self._entries[_key(question)]["answers"][question.dtype])

    def floors(self, question: Question, answer: Arrays) -> Floors:
        """Return the recorded noise floors."""
        floors: Floors = self._entries[_key(question)]["floors"]
        return floors

    def _get(self, keys: Mapping[str, str]) -> Arrays:
        return {name: self._arrays[key] for name, key in keys.items()}

    def _question(self, entry: dict[str, Any]) -> Question:
        question = Question(
            entry["name"],
            entry["task"],
            Network(**entry["network"]),
            cast(self._get(entry["weights"]), "float64"),
            cast(self._get(entry["inputs"]), "float64"),
            entry["settings"],
        )
        self._entries[_key(question)] = entry
        return question


def _key(question: Question) -> str:
    return f"{question.task} {question.name}"


def _read(path: str | Path) -> tuple[Arrays, dict[str, Any]]:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); expected a record."
        ) from error
    stated = DIGITS.search(content)
    if FORMAT.encode() not in content or stated is None:
        raise InputError(f"{path}: is no record of `parity record` ({FORMAT}).")
    if stated[1].decode() != _digest(content):
        raise InputError(
            f"{path}: does not match its own SHA-256; it was changed or cut off. Record it anew."
        )
    try:
        arrays = safetensors.numpy.load(content)
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
    except (SafetensorError, ValueError) as error:
        raise InputError(f"{path}: is no safetensors file ({error}).") from error
    return arrays, json.loads(header["__metadata__"]["manifest"])


def _digest(content: bytes) -> str:
    blank = DIGITS.sub(b'"sha256":"' + BLANK.encode() + b'"', content, count=1)
    return hashlib.sha256(blank).hexdigest()
