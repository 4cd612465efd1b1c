"""Which Keras wrote a file: several meanings hang on it."""

import re
from dataclasses import dataclass

from grulight.errors import one_line

MAX_TEXT = 40
# What TensorFlow.js writes itself: Keras 2 in words and meanings, that outside TensorFlow.
TENSORFLOW_JS = "tfjs-layers"


@dataclass(frozen=True, order=True)
class KerasVersion:
    """A version of Keras.

    Attributes:
        major: 1, 2 or 3.
        minor: The second number.
        tensorflow: Whether it is the Keras inside TensorFlow (`2.2.4-tf`, and every one from 2.4).
        text: As the file has it, on one line.
        backend: What computed, where the file tells.
    """

    major: int
    minor: int
    tensorflow: bool
    text: str
    backend: str = ""

    @classmethod
    def parse(cls, text: str | None, default: str, backend: str = "") -> "KerasVersion":
        """Read `3.15.1`, `2.2.4-tf` and the like; a file of Keras 1 names no version."""
        text = one_line(text or "", MAX_TEXT)
        if text.startswith(TENSORFLOW_JS):
            default = "2"
        match = re.match(r"(\d{1,3})(?:\.(\d{1,3}))?", text) or re.match(r"(\d)()", default)
        assert match is not None
        major, minor = int(match[1]), int(match[2] or 0)
        tensorflow = "-tf" in text or (major, minor) >= (2, 4)
        return cls(major, minor, tensorflow, text or default, backend)
