"""A checkpoint as a file for other programs, verified before it gets its name."""

import os
from dataclasses import dataclass
from pathlib import Path

from grulight.errors import InputError
from grulight.exporting.keras_model import write_keras
from grulight.exporting.onnx_pt2 import write_onnx, write_pt2
from grulight.exporting.signature import signature_of
from grulight.exporting.subject import subject_of
from grulight.exporting.verification import (
    Verdict,
    Written,
    one_line,
    verify,
    without_advice,
)
from grulight.files import written_whole
from grulight.keras_files.layer_report import state_not_kept
from grulight.keras_files.reader.untrusted_text import naming

FORMATS = {".onnx": write_onnx, ".pt2": write_pt2, ".keras": write_keras}


@dataclass(frozen=True)
class Export:
    """A file that was written, and what was verified before it got its name.

    Attributes:
        path: The file.
        written: Its format, the program that opened it, and what it is made of.
        signature: Inputs, outputs, standardisation and padding, in words.
        size: Bytes.
        verdict: How close it is to the checkpoint, and on what.
        left_out: What neither of them does that the Keras model does, a sentence; None for nothing.
    """

    path: Path
    written: Written
    signature: dict[str, str]
    size: int
    verdict: Verdict
    left_out: str | None = None


def export(
    checkpoint: str | os.PathLike[str], output: str | os.PathLike[str], *, lengths: bool = False
) -> Export:
    """Write a checkpoint's model as `.onnx`, `.pt2` or `.keras`, by the name's suffix.

    A GRUNet takes raw sequences and answers with probabilities, or values in their own units; a
    ported model takes and answers what its Keras file does, under the same names. Standardisation
    is part of it.
    It is opened again and compared with the checkpoint before the file gets its name.

    Args:
        checkpoint: A file that ``grulight fit`` or ``grulight port`` wrote.
        output: The file to write.
        lengths: Whether the model takes the lengths of padded sequences as a second input.

    Raises:
        InputError: The suffix is another one, a package is missing, the format cannot express
            the model, or the exported model differs; no file is written.
    """
    path = Path(output)
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: expected a name that ends in {', '.join(FORMATS)}.")
    if path.is_dir():
        raise InputError(f"{path}: is a directory. Choose another name.")
    with naming(Path(checkpoint)):
        subject = subject_of(checkpoint, lengths)
    # the inner one_line is for exporters, the outer naming for every refusal
    with naming(path), written_whole(path) as temporary, without_advice():
        with one_line("cannot be written"):
            written = FORMATS[path.suffix](subject, temporary)
            verdict = verify(subject, written.ask)
        size = temporary.stat().st_size
    left_out = None if subject.model is None else state_not_kept(subject.model.table)
    return Export(path, written, signature_of(subject, path.suffix), size, verdict, left_out)
