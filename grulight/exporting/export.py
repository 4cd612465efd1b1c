"""A checkpoint as a file for other programs, verified before it gets its name."""

import os
from dataclasses import dataclass
from pathlib import Path

from grulight.errors import InputError
from grulight.exporting.keras_model import write_keras
from grulight.exporting.onnx_pt2 import write_onnx, write_pt2
from grulight.exporting.verification import (
    Trial,
    Verdict,
    Written,
    one_line,
    trials,
    verify,
    without_advice,
)
from grulight.files import written_whole
from grulight.keras_files.ported_network import PortedNetwork
from grulight.keras_files.reader.untrusted_text import naming
from grulight.model import GRUNet
from grulight.runs.checkpoint import load_classifier
from grulight.training.classifier import GRUClassifier

FORMATS = {".onnx": write_onnx, ".pt2": write_pt2, ".keras": write_keras}


@dataclass(frozen=True)
class Export:
    """A file that was written, and what was verified before it got its name.

    Attributes:
        path: The file.
        written: Its format, the program that opened it, and what it is made of.
        signature: Inputs, output, standardisation and padding, in words.
        size: Bytes.
        verdict: How close it is to the checkpoint, and on what.
    """

    path: Path
    written: Written
    signature: dict[str, str]
    size: int
    verdict: Verdict


def export(
    checkpoint: str | os.PathLike[str], output: str | os.PathLike[str], *, lengths: bool = False
) -> Export:
    """Write a checkpoint's predictions as `.onnx`, `.pt2` or `.keras`, by the name's suffix.

    The model takes raw sequences (standardisation is part of it) and answers with probabilities.
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
    classifier = load_classifier(checkpoint)
    _require_exportable(checkpoint, classifier)
    steps = _steps(classifier)
    # the inner one_line is for exporters, the outer naming for every refusal
    with naming(path), written_whole(path) as temporary, without_advice():
        with one_line("cannot be written"):
            written = FORMATS[path.suffix](classifier, temporary, lengths, steps)
            verdict = verify(classifier, _trials(classifier, steps, lengths), written.ask)
        size = temporary.stat().st_size
    return Export(path, written, _signature(classifier, path, lengths, steps), size, verdict)


def _require_exportable(path: str | os.PathLike[str], classifier: GRUClassifier) -> None:
    """Refuse what the written files have no names for.

    Raises:
        InputError: The model does not name one class per sequence of features.
    """
    head, network = classifier.head, classifier.network
    reads_ids = isinstance(network, PortedNetwork) and (network.flat or network.num_ids is not None)
    if not head.num_classes or head.per_step or reads_ids:
        what = "reads ids" if reads_ids else f"answers with {head.words}"
        raise InputError(
            f"{os.fspath(path)}: {what}; so far export writes models that name one class per "
            "sequence (batch, time, feature). `grulight.load_keras` runs it from Python."
        )


def _trials(classifier: GRUClassifier, steps: int | None, lengths: bool) -> list[Trial]:
    zeros = isinstance(classifier.network, PortedNetwork) and not lengths
    features = len(classifier.feature_names)
    if classifier.mean is None or classifier.scale is None:
        return trials(features, steps, lengths=lengths, zeros=zeros)
    mean, scale = classifier.mean.numpy(), classifier.scale.numpy()
    return trials(features, steps, lengths=lengths, zeros=zeros, mean=mean, scale=scale)


def _steps(classifier: GRUClassifier) -> int | None:
    """Return the only number of steps that a network takes, or None for any."""
    network = classifier.network
    return network.model.network.graph.shapes[0][1] if isinstance(network, PortedNetwork) else None


def _signature(
    classifier: GRUClassifier, path: Path, lengths: bool, steps: int | None
) -> dict[str, str]:
    network, time, padding = classifier.network, steps or "time", "every step is read"
    if lengths:
        padding = "lengths counts the steps of each sequence that are read, the first ones"
    elif isinstance(network, PortedNetwork):
        padding = "every step is read, but for those that a Masking layer skips"
    elif path.suffix != ".keras":
        padding += "; --lengths adds an input for sequences of different lengths"
    outputs = network.head.out_features if isinstance(network, GRUNet) else network.num_outputs
    single = path.suffix == ".keras" and outputs == 1
    answers = f"1: that of {classifier.class_names[1]}" if single else "class"
    fill = classifier.hparams["missing"]
    filled = {"missing values": f"not inside: to be filled before, as --data.missing {fill} does"}
    return {
        "inputs": f"values (batch, {time}, feature)" + ", lengths (batch)" * lengths,
        "output": f"probabilities (batch, {answers})",
        "standardisation": "none" if classifier.mean is None else "inside",
        "padding": padding,
        **(filled if fill else {}),
    }
