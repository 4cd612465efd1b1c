"""Keras 2 itself on a file of its own: tf_keras, where it is installed and opens the file."""

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from grulight.keras_files.reader.untrusted_text import Json
from parity.keras_files.file_questions import batches
from parity.keras_files.inputs import fed
from parity.keras_files.keras_open import adapted
from parity.keras_files.names_in_file import said_version
from parity.keras_files.opening_rules import untrusted
from parity.question import Arrays, Question
from parity.sides.keras_setup import tf
from parity.sides.quiet import without_warnings

MOVING = ("moving_mean", "moving_variance")


class Keras2Witness:
    """A model as Keras 2 opens it, in float64, with the file's own weights.

    Args:
        model: The model in tf_keras.
    """

    def __init__(self, model: Any) -> None:
        import tf_keras

        self.name = f"tf_keras {tf_keras.__version__}"
        backend = tf_keras.backend
        kept = backend.floatx()
        backend.set_floatx("float64")
        try:
            self.model = type(model).from_config(adapted(model.get_config(), "float64"))
        finally:
            backend.set_floatx(kept)
        self.model.set_weights(model.get_weights())
        for layer in self.model._flatten_layers():
            if isinstance(layer, tf_keras.layers.Normalization):
                layer.finalize_state()  # it keeps what its variables were when it was made

    def __call__(self, question: Question) -> Arrays:
        """Return the outputs for a question's inputs, or the statistics after its batches."""
        if question.task == "training":
            return self._moved(question)
        found = self._run(question, training=False)
        names = (f"output.{name}" for name in question.settings["outputs"])
        outputs = (np.asarray(each.numpy()) for each in tf.nest.flatten(found))
        return dict(zip(names, outputs, strict=True))

    def _moved(self, question: Question) -> Arrays:
        """Return the moving statistics after a pass over all batches in which nothing trains."""
        kept = self.model.get_weights()
        for batch in batches(question):
            self._run(batch, training=True)
        found = {n: v for n, v in _moving(self.model).items() if n in question.weights}
        moved = {f"train.{name}": variable.numpy()[None] for name, variable in found.items()}
        self.model.set_weights(kept)
        return moved

    def _run(self, question: Question, training: bool) -> Any:
        given = [tf.constant(array) for array in fed(question).values()]
        with without_warnings(), tf.device("CPU:0"):
            return self.model(given if len(given) > 1 else given[0], training=training)


def _moving(layer: Any, prefix: str = "") -> dict[str, Any]:
    """Return the moving statistics of a model of Keras 2 by the names of layers."""
    if hasattr(layer, "moving_mean"):
        return {f"{prefix}{name}": getattr(layer, name) for name in MOVING}
    parts = {f"{each.name}/": each for each in getattr(layer, "layers", ())}
    if hasattr(layer, "layer"):  # a wrapper, whose variables count as its own
        parts[""] = layer.layer
    return {n: v for name, part in parts.items() for n, v in _moving(part, prefix + name).items()}


def keras_2(path: Path, config: dict[str, Json], question: Question) -> Keras2Witness | None:
    """Return Keras 2 with a file that it wrote, or None where it cannot bear witness.

    Args:
        path: The file, which the reader has looked at before.
        config: The file's configuration.
        question: Something that it must be able to answer.
    """
    version = said_version(path)
    of_tensorflow = version is not None and ("-tf" in version or _numbers(version) >= (2, 4))
    if not of_tensorflow or _numbers(str(version))[0] != 2 or untrusted(config) is not None:
        return None
    if find_spec("tf_keras") is None:
        return None
    try:
        with without_warnings(), _without_cudnn():
            found = Keras2Witness(_opened(path))
            found(question)
    except Exception:  # Keras lets through whatever its own code happens to raise
        return None
    return found


@contextmanager
def _without_cudnn() -> Iterator[None]:
    """Let recurrent layers be built for a CPU alone: with cuDNN's way it takes ten times as long.

    On a CPU both compute the same.
    """
    from tf_keras.src.layers.rnn import gru, lstm

    kept = gru.gru_with_backend_selection, lstm.lstm_with_backend_selection
    gru.gru_with_backend_selection = gru.standard_gru
    lstm.lstm_with_backend_selection = lstm.standard_lstm
    try:
        yield
    finally:
        gru.gru_with_backend_selection, lstm.lstm_with_backend_selection = kept


def _opened(path: Path) -> Any:
    import tf_keras

    ending = ".keras" if zipfile.is_zipfile(path) else ".h5"
    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder, f"model{ending}")  # it goes by the name, not by the content
        known.symlink_to(path.resolve())
        return tf_keras.models.load_model(known, compile=False)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(each) for each in version.partition("-")[0].split(".")[:2] if each.isdigit())
