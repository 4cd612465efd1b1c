"""The models that mutants are checked on: small files that use one part each, written once."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mutants.child import run_in_child
from mutants.old_files import BYTES


def prepared(name: str, tree: Path, work: Path) -> Path:
    """Return the file of a model, which is written where it is not there yet.

    Raises:
        SystemExit: It cannot be.
    """
    ending = ".safetensors" if name.startswith("record: ") else _ending(name)
    path = work / "models" / (re.sub(r"\W+", "_", name) + ending)
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        run = run_in_child("build", tree, work / "kernels", name, path)
        if run.code != 0 or not path.exists():
            raise SystemExit(f"{name} cannot be written: {run.last}")
    return path


def _ending(name: str) -> str:
    return ".keras" if name.startswith("keras 3") else ".h5"


def write(name: str, path: str) -> None:
    """Write the file of a model: a case of the tests' own by name, or one of those below."""
    sys.path[:0] = ["tests/keras_files", "tests/parity"]
    if name.startswith("record: "):
        _record(name.removeprefix("record: "), path)
        return
    flavour, _, case = name.partition(": ")
    if flavour == "bytes":
        Path(path).write_bytes(BYTES[case]())
        return
    import theirs
    from cases import CASES

    builders = {each.name: each.build for each in CASES} | OWN
    keras = theirs.KERAS_3 if flavour == "keras 3" else theirs.keras_2()
    theirs.quietly(theirs.built(builders[case], 5, keras).save, path)


def _record(name: str, path: str) -> None:
    """Record Keras on a network that reads sequences of many lengths, and trains on few."""
    import numpy as np

    from parity.check import LiveSide
    from parity.question import Network
    from parity.questions_by_rung import questions_about
    from parity.record import write_record
    from parity.sides.keras_side import KerasSide
    from parity.sides.torch_network import fresh_network, weights_of

    network, rng = Network(**NETWORKS[name]), np.random.default_rng(3)
    data = {"values": rng.normal(size=(70, 6, network.input_size)).astype("f4").astype("f8")}
    data |= {"labels": rng.integers(0, max(2, network.num_outputs), 70)}
    data |= {"lengths": rng.integers(1, 7, 70)}
    weights, start = (weights_of(fresh_network(network)) for _ in range(2))
    theirs = KerasSide()
    facts = {"target": name, "weights_sha256": "", "theirs": theirs.name, "versions": {}}
    asked = questions_about(network, weights, data, start, name)
    write_record(path, asked, LiveSide(theirs), facts | {"notes": []})


NETWORKS: dict[str, dict[str, Any]] = {
    "one layer": {"input_size": 5, "num_outputs": 3, "hidden_size": 6},
    "two ways": {
        **{"input_size": 3, "num_outputs": 1, "hidden_size": 5},
        **{"num_layers": 2, "bidirectional": True},
    },
}


def _frozen(k: Any) -> Any:
    norm, gru = k.BatchNormalization(trainable=False), k.GRU(4, trainable=False)
    return k.Sequential([k.Input((9, 3)), norm, gru, k.Dense(2)])


def _normalization(k: Any) -> Any:
    return k.Sequential([k.Input((5, 3)), k.Masking(0.5), k.Normalization(), k.GRU(2)])


def _twelve(k: Any) -> Any:
    many = [k.Dense(4, activation="tanh") for _ in range(11)]
    return k.Sequential([k.Input((9, 3)), k.GRU(4), *many, k.Dense(4)])


def _embedded(k: Any) -> Any:
    ids = k.Input((9,), dtype="int32")  # a Sequential: a Functional writes the mask as an operation
    return k.Sequential([ids, k.Embedding(9, 3, mask_zero=True), k.GRU(4), k.Dense(2)])


def _within_steps(k: Any) -> Any:
    words = k.TimeDistributed(k.Embedding(9, 3, mask_zero=True)), k.TimeDistributed(k.GRU(4))
    return k.Sequential([k.Input((5, 6), dtype="int32"), *words, k.GRU(3), k.Dense(2)])


def _norms(k: Any) -> Any:
    norms = [k.BatchNormalization(), k.GRU(4, return_sequences=True), k.LayerNormalization()]
    return k.Sequential([k.Input((9, 3)), *norms, k.Dense(2)])


def _shared(k: Any) -> Any:
    norm, inputs = k.BatchNormalization(), [k.Input((9, 3), name=name) for name in "xy"]
    return k.Model(inputs, k.Add()([k.GRU(4)(norm(each)) for each in inputs]))


def _momentum(k: Any) -> Any:
    layers = [k.Masking(0.5), k.BatchNormalization(momentum=0.7), k.GRU(4), k.Dense(2)]
    return k.Sequential([k.Input((9, 3)), *layers])


def _pooled(k: Any) -> Any:
    inner = k.MaxPooling1D(2, 2, "same"), k.AveragePooling1D(4, 2, "same")
    return k.Sequential([k.Input((9, 3)), *inner, k.GRU(4), k.Dense(2)])


def _compiled(loss: str, optimizer: str, **settings: Any) -> Callable[[Any], Any]:
    """Return what builds a model that was compiled; `smoothing` goes to the loss.

    `constraint` goes to the last layer's kernel.
    """
    smoothing, constraint = settings.pop("smoothing", 0.0), settings.pop("constraint", None)

    def build(k: Any) -> Any:
        last = k.Dense(3, activation="softmax", kernel_constraint=constraint)
        model = k.Sequential([k.Input((9, 3)), k.GRU(4), last])
        stated = {"class_name": optimizer, "config": settings}
        asked = {"class_name": loss, "config": {"label_smoothing": smoothing}}
        model.compile(stated, asked)
        return model

    return build


def _falling(initial: float, decay_steps: int) -> dict[str, Any]:
    settings = {"initial_learning_rate": initial, "decay_steps": decay_steps, "decay_rate": 0.5}
    kind = {"module": "keras.optimizers.schedules", "class_name": "ExponentialDecay"}
    return kind | {"config": settings, "registered_name": None}


OWN: dict[str, Callable[[Any], Any]] = {
    "compiled AMSGrad": _compiled("CategoricalCrossentropy", "Adam", amsgrad=True),
    "compiled RMSprop": _compiled("CategoricalCrossentropy", "RMSprop", centered=True),
    "compiled Nesterov": _compiled(
        "CategoricalCrossentropy", "SGD", momentum=0.9, nesterov=True, global_clipnorm=0.1
    ),
    "compiled clipping": _compiled(
        "CategoricalCrossentropy", "Adam", clipvalue=0.01, beta_1=0.8, smoothing=0.2
    ),
    "compiled schedule": _compiled(
        "CategoricalCrossentropy", "Adam", learning_rate=_falling(0.01, decay_steps=3)
    ),
    "compiled constraint": _compiled(
        "CategoricalCrossentropy", "SGD", learning_rate=0.5, constraint="unit_norm"
    ),
    "frozen layers": _frozen,
    "normalization of data": _normalization,
    "twelve layers of a class": _twelve,
    "embedded ids": _embedded,
    "masks within steps": _within_steps,
    "two normalisations": _norms,
    "momentum": _momentum,
    "shared normalisation": _shared,
    "pooling with padding": _pooled,
}
