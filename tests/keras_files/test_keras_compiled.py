"""What a Keras file was compiled with is trained with, or named in a line, or refused."""

import copy
import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from grulight.checkpoint_files.keras_description import DESCRIPTION
from grulight.checkpoint_files.rules import Unfit
from grulight.cli import main
from grulight.data.batches import Batch
from grulight.errors import InputError
from grulight.heads import ClassHead, LabelHead
from grulight.keras_files.compiled_optimizer import compiled_optimizer
from grulight.keras_files.compiled_words import not_taken_over, taken_over
from grulight.keras_files.model_description import rebuild
from grulight.keras_files.penalties import read_regularizer
from grulight.keras_files.port import load_keras
from grulight.keras_files.ported_network import PortedNetwork
from grulight.keras_files.reader.compiled import read_compiled
from grulight.keras_files.reader.versions import KerasVersion
from grulight.keras_files.variables_in_torch import keras_variables
from grulight.optim import KerasAdam
from grulight.training.classifier import GRUClassifier
from grulight.training.epoch_means import EpochMeans

# Keras 3.15 on NumPy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Run = Callable[..., str]
L, O, R, C = keras.layers, keras.optimizers, keras.regularizers, keras.losses  # noqa: E741
K, S = keras.constraints, keras.optimizers.schedules
COUNT, STEPS, FEATURES, UPDATES = 9, 5, 3, 3
# float64 on both sides, and settings that float32 holds, to which Keras rounds many of them
CLOSE = 1e-11
X = np.random.default_rng(1).normal(size=(COUNT, STEPS, FEATURES))
X[0, 2:] = X[3, :2] = 0.0  # what Masking masks
LABELS = np.random.default_rng(2).integers(0, 3, COUNT)
HOT = np.eye(3)[LABELS]
SEVERAL = np.random.default_rng(3).integers(0, 2, (COUNT, 4))
VALUES = 2 * np.random.default_rng(4).normal(size=(COUNT, 2))
SPARSE, BINARY = "sparse_categorical_crossentropy", "binary_crossentropy"


@dataclass(frozen=True)
class Case:
    """What Keras compiles, and what it trains.

    Attributes:
        answer: The last layer's units and activation.
        y: As Keras takes it.
        loss: Keras' own; made when its turn comes, as it has the precision of its time.
        optimizer: Likewise.
        gru: Settings of the GRU.
        dense: Settings of the last layer.
        wrap: Makes of the GRU what stands in the model.
        last: What stands between it and the last layer.
        updates: How many times it is trained.
    """

    answer: tuple[int, str | None]
    y: NDArray[Any]
    loss: str | Callable[[], Any]
    optimizer: Callable[[], Any] = lambda: O.SGD(1 / 16)
    gru: Callable[[], dict[str, Any]] = dict
    dense: Callable[[], dict[str, Any]] = dict
    wrap: Callable[[Any], Any] = lambda gru: gru
    last: Callable[[], list[Any]] = list
    updates: int = UPDATES

    def model(self) -> Any:
        keras.utils.set_random_seed(3)
        units, activation = self.answer
        gru = self.wrap(L.GRU(4, **self.gru()))
        model = keras.Sequential(
            [
                L.Input((None, FEATURES)),
                gru,
                *self.last(),
                L.Dense(units, activation, **self.dense()),
            ]
        )
        rng = np.random.default_rng(7)
        for weight in model.trainable_weights:  # zeros would hide a wrong bias
            weight.assign(weight + 0.1 * rng.normal(size=weight.shape))
        loss = self.loss if isinstance(self.loss, str) else self.loss()
        model.compile(self.optimizer(), loss, run_eagerly=True)
        return model


def plain(optimizer: Callable[[], Any] = lambda: O.SGD(1 / 16), **more: Any) -> Case:
    return Case((3, "softmax"), LABELS, SPARSE, optimizer, **more)


def regularised() -> dict[str, Any]:
    return {
        "kernel_regularizer": R.L1L2(1 / 32, 0.25),
        "recurrent_regularizer": R.L2(0.125),
        "bias_regularizer": R.L1(1 / 16),
    }


def constrained() -> dict[str, Any]:
    return {
        "kernel_constraint": K.MaxNorm(0.5),
        "recurrent_constraint": K.MinMaxNorm(0.25, 0.75, 0.5, axis=1),
        "bias_constraint": "max_norm",
    }


CASES = {
    "smoothed classes": Case(
        (3, "softmax"), HOT, lambda: C.CategoricalCrossentropy(label_smoothing=0.25)
    ),
    "smoothed classes of logits": Case(
        (3, None), HOT, lambda: C.CategoricalCrossentropy(from_logits=True, label_smoothing=0.125)
    ),
    "smoothed yes or no": Case(
        (1, "sigmoid"), LABELS > 1, lambda: C.BinaryCrossentropy(label_smoothing=0.125)
    ),
    "smoothed labels": Case(
        (4, "sigmoid"), SEVERAL, lambda: C.BinaryCrossentropy(label_smoothing=0.125)
    ),
    "hard sigmoid": Case((1, "hard_sigmoid"), LABELS > 1, BINARY),
    "labels of hard sigmoids": Case((4, "hard_sigmoid"), SEVERAL, BINARY),
    "one of several hard sigmoids": Case((3, "hard_sigmoid"), HOT, "categorical_crossentropy"),
    "huber": Case((2, None), VALUES, "huber"),
    "log_cosh": Case((2, "tanh"), VALUES, lambda: C.LogCosh()),
    "learning rate, a norm per variable": plain(
        lambda: O.Adam(1 / 32, 0.875, 0.984375, clipnorm=0.01)
    ),
    "betas, epsilon, a largest value": plain(
        lambda: O.Adam(1 / 64, 0.75, 0.96875, 1e-3, amsgrad=True, clipvalue=0.003)
    ),
    "AdamW": plain(lambda: O.AdamW(1 / 64, 0.125, 0.875, 0.984375)),
    "RMSprop": plain(lambda: O.RMSprop(1 / 64, 0.8, 0.5, 1e-5, centered=True)),
    "SGD, a norm over all": plain(
        lambda: O.SGD(0.25, 0.875, nesterov=True, global_clipnorm=0.1, weight_decay=1 / 64)
    ),
    "regularisers": plain(
        lambda: O.SGD(1 / 16),
        gru=regularised,
        dense=lambda: {"kernel_regularizer": R.L2(1 / 64)},
    ),
    "regularisers in both directions": plain(
        lambda: O.SGD(1 / 16, clipnorm=0.5), gru=regularised, wrap=L.Bidirectional
    ),
    "Adamax": plain(lambda: O.Adamax(1 / 64, 0.8, 0.95, weight_decay=1 / 64)),
    "Nadam": plain(lambda: O.Nadam(1 / 64, 0.8, 0.95)),
    "Adagrad": plain(lambda: O.Adagrad(1 / 64, 1 / 32)),
    "Adadelta": plain(lambda: O.Adadelta(0.5, 0.8)),
    "Lion": plain(lambda: O.Lion(1 / 64, 0.8, 0.9)),
    "rates along a cosine, warmed up": plain(
        lambda: O.SGD(S.CosineDecay(1 / 64, 5, 1 / 8, warmup_target=0.25, warmup_steps=3)),
        updates=10,
    ),
    "rates in pieces": plain(
        lambda: O.Adam(S.PiecewiseConstantDecay([1, 4], [0.25, 0.0625, 0.0])), updates=7
    ),
    "rates of a polynomial, from anew": plain(
        lambda: O.RMSprop(S.PolynomialDecay(0.0625, 3, 1 / 64, 2.0, cycle=True)), updates=8
    ),
    "a mean gradient of three batches": plain(
        lambda: O.Adam(
            S.ExponentialDecay(0.0625, 4, 0.5, staircase=True),
            gradient_accumulation_steps=3,
            clipnorm=0.125,
        ),
        updates=10,
    ),
    "constraints": plain(
        lambda: O.SGD(0.25, 0.875),
        gru=constrained,
        dense=lambda: {"kernel_constraint": K.UnitNorm(), "bias_constraint": "non_neg"},
        updates=5,
    ),
    "constraints in both directions": plain(
        lambda: O.Adam(0.125, gradient_accumulation_steps=2),
        gru=constrained,
        wrap=L.Bidirectional,
    ),
    "constraints, reset before the product": plain(
        gru=lambda: {"reset_after": False, **constrained()}
    ),
    "constraints of a convolution": Case(
        *((3, "softmax"), LABELS, SPARSE, lambda: O.SGD(0.25)),
        gru=lambda: {"return_sequences": True},
        last=lambda: [
            L.Conv1D(3, 2, kernel_constraint=K.MaxNorm(0.75, axis=[0, 1])),
            L.DepthwiseConv1D(
                2, depthwise_constraint=K.MaxNorm(0.5), depthwise_regularizer=R.L2(1 / 8)
            ),
            L.GlobalMaxPooling1D(),
        ],
    ),
    "activities": plain(
        gru=lambda: {"activity_regularizer": R.L1L2(1 / 8, 1 / 4)},
        last=lambda: [L.ActivityRegularization(1 / 16, 1 / 32)],
        dense=lambda: {"activity_regularizer": "l2", "kernel_regularizer": R.L2(1 / 64)},
    ),
    "activities of masked steps": plain(
        gru=lambda: {"activity_regularizer": R.L2(1 / 4), "return_sequences": True},
        wrap=lambda gru: keras.Sequential([L.Masking(), gru]),
        last=lambda: [L.GRU(2)],
    ),
    "reset before the product": plain(
        lambda: O.SGD(0.5, clipnorm=0.02), gru=lambda: {"reset_after": False, **regularised()}
    ),
}


QUICK = (  # a case for each mechanism; the others are its siblings
    *("smoothed classes", "smoothed yes or no", "hard sigmoid", "huber", "AdamW"),
    *("learning rate, a norm per variable", "SGD, a norm over all"),
    "regularisers in both directions",
    *("Nadam", "rates along a cosine, warmed up", "a mean gradient of three batches"),
    *("constraints", "activities", "activities of masked steps"),
)


def marks_of(name: str) -> tuple[pytest.MarkDecorator, ...]:
    return () if name in QUICK else (pytest.mark.slow,)


def targets(case: Case, head: Any) -> torch.Tensor:
    y = np.asarray(case.y)
    if isinstance(head, ClassHead):
        return torch.from_numpy((y.argmax(1) if y.ndim == 2 else y).astype(np.int64))
    return torch.from_numpy(y.astype(np.float64))


def trained(path: str, case: Case) -> tuple[list[float], nn.Module]:
    """Return the loss of each update and the network afterwards."""
    network = PortedNetwork(load_keras(path))
    classes, size = network.head.num_classes, network.head.size
    classifier = GRUClassifier(
        FEATURES, classes, num_values=0 if classes else size, from_keras=path
    )
    optimizer = classifier.configure_optimizers()
    labels, found = targets(case, classifier.head), []
    for _ in range(case.updates):
        optimizer.zero_grad()
        loss = classifier.evaluate(Batch(torch.from_numpy(X), None, labels), EpochMeans())
        torch.autograd.backward(loss)
        optimizer.step()
        found.append(loss.item())
    return found, classifier.network


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        *(pytest.param(name, "keras", marks=marks_of(name)) for name in CASES),
        *((name, "h5") for name in ("smoothed labels", "RMSprop")),
    ],
)
def test_updates_are_those_of_keras(name: str, suffix: str) -> None:
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    case = CASES[name]
    model = case.model()
    model.save(f"model.{suffix}")
    theirs = model.fit(X, case.y, COUNT, case.updates, shuffle=False, verbose=0).history["loss"]
    ours, network = trained(f"model.{suffix}", case)
    assert isinstance(network, PortedNetwork)
    assert ours == pytest.approx(theirs, rel=CLOSE)
    assert not_taken_over(network.model) is None
    model.save_weights("after.weights.h5")
    after = load_keras("after.weights.h5", config=network.description["model"])
    for name, weight in after.state_dict().items():
        np.testing.assert_allclose(network.model.state_dict()[name], weight, rtol=0, atol=CLOSE)


def saved(optimizer: Any = "adam", loss: Any = SPARSE, **more: Any) -> Any:
    gru = L.GRU(4, **more.pop("gru", {}))
    units, activation = more.pop("answer", (3, "softmax"))
    last = more.pop("layers", [])
    model = keras.Sequential([L.Input((STEPS, FEATURES)), gru, *last, L.Dense(units, activation)])
    model.compile(optimizer, loss, **more)
    model.save("model.keras")
    return model


def data(y: Any) -> tuple[object, ...]:
    np.savez("data.npz", x=X.astype("float32"), y=y)
    return ("--data.source", "data.npz", "--data.train_size", 1, "--data.batch_size", 4)


def words(text: str) -> str:
    return " ".join(text.split())


def test_fit_says_what_it_takes_over_and_trains_by_it(run: Run) -> None:
    optimizer = O.Adam(0.05, clipnorm=0.01)
    model = saved(optimizer, C.SparseCategoricalCrossentropy(), gru=regularised())
    said = words(run("port", "model.keras", "-o", "model.ckpt"))
    line = (
        "as compiled in Keras: Adam, learning_rate 0.05, clipnorm 0.01 for each variable, "
        "kernel_regularizer of 'gru"
    )
    assert line in said
    assert "not taken over" not in said
    np.savez("data.npz", x=X.astype("float32"), y=LABELS)
    for command in (("--model.from_keras", "model.keras"), ("--model.from_keras", "model.ckpt")):
        said = words(run("fit", *command, *data(LABELS)[:4], "--data.batch_size", COUNT,
                         "--trainer.max_epochs", 3))  # fmt: skip
        assert line in said
    theirs = model.fit(X, LABELS, COUNT, 3, shuffle=False, verbose=0).history["loss"]
    for version in (0, 1):
        with Path(f"lightning_logs/version_{version}/metrics.csv").open(newline="") as file:
            ours = [float(row["train_loss"]) for row in csv.DictReader(file)]
        assert ours == pytest.approx(theirs, rel=1e-5)


def test_an_optimizer_that_the_user_names_goes_before_the_files(run: Run) -> None:
    saved(O.RMSprop(0.05))
    said = words(run("fit", "--model.from_keras", "model.keras", *data(LABELS),
                     "--trainer.max_epochs", 1, "--optimizer", "KerasSGD"))  # fmt: skip
    assert "takes the place of the file's (RMSprop, learning_rate 0.05)" in said


@pytest.mark.parametrize(
    ("made", "line"),
    [
        ({"optimizer": O.Ftrl(0.002)}, "optimizer 'Ftrl' ('learning_rate 0.002"),
        (
            {"optimizer": O.SGD(S.CosineDecayRestarts(0.1, 9, 0.5))},
            "schedule 'CosineDecayRestarts' (its",
        ),
        ({"optimizer": O.Adam(use_ema=True)}, "use_ema 'True'"),
        ({"loss_weights": [2.0]}, "loss_weights '[2.0]'"),
        ({"loss": C.SparseCategoricalCrossentropy(reduction="sum")}, "reduction 'sum' of the loss"),
        ({"loss": C.SparseCategoricalCrossentropy(ignore_class=0)}, "ignore_class '0' of the loss"),
        ({"loss": C.Huber(0.1), "answer": (1, None)}, "Huber's delta, which is not in the file"),
        (
            {"gru": {"activity_regularizer": R.OrthogonalRegularizer()}},
            "activity_regularizer of 'gru",
        ),
        (
            {"layers": [L.Reshape((4, 1)), L.Bidirectional(L.GRU(2, activity_regularizer="l2"))]},
            "activity_regularizer of 'bidirectional/layer'",
        ),
        ({"gru": {"kernel_constraint": K.MaxNorm(-1)}}, "kernel_constraint of 'gru"),
        (
            {"gru": {"kernel_regularizer": R.OrthogonalRegularizer()}},
            "kernel_regularizer of 'gru",
        ),
    ],
)
def test_what_is_not_taken_over_is_named(made: dict[str, Any], line: str) -> None:
    saved(**made)
    said = not_taken_over(load_keras("model.keras"))
    assert said is not None
    assert said.startswith("compiled with, not taken over: ")
    assert line in said
    assert len(said) <= 500


def test_port_and_fit_print_what_is_not_taken_over(run: Run) -> None:
    saved(O.Ftrl())
    line = "compiled with, not taken over: optimizer 'Ftrl'"
    assert line in words(run("port", "model.keras", "-o", "model.ckpt"))
    fit = ("fit", "--model.from_keras", "model.keras", "--trainer.max_epochs", 1)
    assert line in words(run(*fit, *data(LABELS)))


@pytest.mark.parametrize(
    ("loss", "answer", "named"),
    [
        ("poisson", (1, None), "the loss 'poisson'"),
        (C.CosineSimilarity(), (1, None), "the loss 'CosineSimilarity'"),
        ("mse", (3, "softmax"), "the loss 'mean_squared_error' after softmax over 3 numbers"),
        (BINARY, (3, "softmax"), "the loss 'binary_crossentropy' after softmax"),
        (BINARY, (2, "softmax"), "the loss 'binary_crossentropy' after softmax over 2"),
        ("categorical_crossentropy", (3, "sigmoid"), "'categorical_crossentropy' after sigmoid"),
        (BINARY, (1, None), "the loss 'binary_crossentropy' after linear over 1 number"),
        ("categorical_crossentropy", (3, "tanh"), "'categorical_crossentropy' after linear"),
    ],
)
def test_a_loss_that_cannot_be_trained_is_refused(
    loss: Any, answer: tuple[int, str | None], named: str
) -> None:
    saved(loss=loss, answer=answer)
    with pytest.raises(InputError, match="the Keras model was compiled with the loss ") as refusal:
        PortedNetwork(load_keras("model.keras")).require_trainable()
    assert named in str(refusal.value)
    assert "Supported: mean_squared_error, " in str(refusal.value)


def test_fit_refuses_such_a_loss_before_anything_is_written(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(loss="poisson", answer=(1, None))
    arguments = ("fit", "--model.from_keras", "model.keras", *data(LABELS.astype("f")))
    assert main([*map(str, arguments)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "model.keras: the Keras model was compiled with the loss 'poisson'" in line
    assert not Path("lightning_logs").exists()
    said = "compiled with the loss 'poisson', which is not supported"
    assert said in words(run("port", "model.keras", "-o", "model.ckpt"))
    source = data(LABELS.astype("f"))[:2]
    assert said in words(run("test", "--ckpt_path", "model.ckpt", *source, "--data.train_size", 0))


def test_such_a_loss_is_refused_in_python_too_and_predictions_stay() -> None:
    saved(loss="poisson", answer=(1, None))
    classifier = GRUClassifier(FEATURES, 0, num_values=1, from_keras="model.keras")
    classifier.setup("test")
    assert classifier.predict_proba(X.astype("float32")).shape == (COUNT, 1)
    with pytest.raises(InputError, match="the loss 'poisson', which is not supported"):
        classifier.setup("fit")


def test_norms_go_over_keras_variables() -> None:
    saved()
    found = [(name, len(held)) for _, name, held in keras_variables(load_keras("model.keras"))]
    # torch has two biases where Keras' GRU has one of two rows
    gru, dense = {("kernel", 1), ("recurrent_kernel", 1), ("bias", 2)}, {("kernel", 1), ("bias", 1)}
    assert (set(found[2:]), set(found[:2])) == (gru, dense)


def test_a_moving_mean_is_no_variable_that_trains() -> None:
    saved(layers=[L.BatchNormalization()])
    names = [name for _, name, _ in keras_variables(load_keras("model.keras"))]
    assert sorted(names) == [
        "beta",
        "bias",
        "bias",
        "gamma",
        "kernel",
        "kernel",
        "recurrent_kernel",
    ]


def test_frozen_weights_add_nothing_to_the_loss() -> None:
    saved(gru=regularised() | {"trainable": False})
    network = PortedNetwork(load_keras("model.keras"))
    assert network.penalty is None
    assert not_taken_over(network.model) is None


def test_defaults_and_files_without_settings_train_as_ever() -> None:
    saved()
    assert "compiled" not in load_keras("model.keras").description
    model = keras.Sequential([L.Input((STEPS, FEATURES)), L.GRU(4), L.Dense(3, "softmax")])
    model.save("model.keras")
    found = load_keras("model.keras")
    assert "compiled" not in found.description
    assert taken_over(found) is None
    assert not_taken_over(found) is None
    ours = compiled_optimizer(found, found.parameters(), {})
    assert type(ours) is KerasAdam
    assert ours.clip is None
    theirs = KerasAdam(found.parameters())
    assert [{**group, "params": 0} for group in ours.param_groups] == [
        {**group, "params": 0} for group in theirs.param_groups
    ]


def test_copies_of_an_optimizer_clip_their_own_gradients() -> None:
    saved(O.SGD(1.0, clipvalue=0.5))
    network = PortedNetwork(load_keras("model.keras"))
    [weight, optimizer] = copy.deepcopy(
        [next(network.parameters()), network.optimizer(network.parameters())]
    )
    before = weight.detach().clone()
    weight.grad = torch.full_like(weight, 3.0)
    optimizer.step()
    torch.testing.assert_close(weight.detach(), before - 0.5)


def of_version(text: str, **optimizer: Any) -> Any:
    config = {"class_name": "SGD", "config": {"lr": 0.3, **optimizer}}
    return read_compiled({"optimizer_config": config}, KerasVersion.parse(text, "2"))


def test_old_files_are_read_with_the_meaning_of_their_keras() -> None:
    assert of_version("2.2.4-tf").settings.optimizer["learning_rate"] == 0.3
    assert of_version("2.4.0", clipnorm=1).settings.around["clipping"] == {"clipnorm": 1.0}
    # before it lived in TensorFlow, Keras took the norm over all variables
    assert of_version("2.3.1", clipnorm=1).settings.around["clipping"] == {"global_clipnorm": 1.0}
    assert not of_version("2.3.1", decay=0.1).dropped
    slower = of_version("2.3.1", decay=0.1).settings.around["schedule"]
    assert (slower["class"], slower["decay_rate"]) == ("InverseTimeDecay", 0.1)
    assert of_version("3.0", decay=0.1).dropped == ("decay '0.1'",)
    for kind in ("Adagrad", "Nadam"):  # their equations were others
        config: Any = {"class_name": kind, "config": {"learning_rate": 0.01}}
        [words] = read_compiled({"optimizer": config}, KerasVersion.parse("2.10", "2")).dropped
        assert words.startswith(f"optimizer '{kind}' as it was before Keras 2.11")
        assert not read_compiled({"optimizer": config}, KerasVersion.parse("2.13", "2")).dropped
        config["config"] |= {"decay": 0.0}  # of `optimizers.legacy`
        assert read_compiled({"optimizer": config}, KerasVersion.parse("2.13", "2")).dropped
    config = {"class_name": "RMSprop", "config": {"lr": 0.01, "decay": 0.0}}
    [words] = read_compiled({"optimizer": config}, KerasVersion.parse("2.2.4", "2")).dropped
    assert "epsilon outside the root" in words


@pytest.mark.parametrize(
    "settings",
    [
        {"learning_rate": "x"},
        {"momentum": 2},
        {"lr": -1},
        {"nesterov": 3},
        {"learning_rate": {"class_name": 1}},
        {"clipnorm": "x"},
        {"clipvalue": -1.0},
        {"lr": 10**400},
        {"clipnorm": 10**400},
    ],
)
def test_settings_that_are_none_are_named_and_not_used(settings: dict[str, Any]) -> None:
    found = of_version("3.0", **settings)
    assert found.dropped
    assert "clipping" not in found.settings.around
    compiled_optimizer(nn.Module(), [nn.Parameter(torch.zeros(1))], found.described)


@pytest.mark.parametrize("compiled", [None, 3, [], {}, {"optimizer": 3}, {"loss": None},
                                      {"optimizer": {"class_name": 3}}])  # fmt: skip
def test_what_says_nothing_asks_for_nothing(compiled: Any) -> None:
    assert read_compiled(compiled, KerasVersion.parse("3", "3")).as_ever


@pytest.mark.parametrize(
    ("value", "factors"),
    [
        ({"class_name": "L1L2", "config": {"l1": 0.1, "l2": 0.2}}, (0.1, 0.2)),
        ({"name": "WeightRegularizer", "l1": 0.0, "l2": 0.3}, (0.0, 0.3)),  # Keras 1
        ("l1", (0.01, 0.0)),
        ("l1_l2", (0.01, 0.01)),
        ({"class_name": "Mine", "config": {"l2": 0.1}}, None),
        ({"class_name": "L2", "config": {"l2": "x"}}, None),
        ({"class_name": "L2", "config": {"l2": -1}}, None),
        (None, None),
        ([1], None),
    ],
)
def test_regularisers_are_words_of_a_closed_table(value: Any, factors: Any) -> None:
    assert read_regularizer(value) == factors


def test_checkpoints_keep_what_was_compiled_and_old_ones_open() -> None:
    saved(O.Adam(0.05, clipnorm=0.01), C.SparseCategoricalCrossentropy())
    description = load_keras("model.keras").description
    DESCRIPTION.check(dict(description), "")
    again = PortedNetwork(rebuild(description)).optimizer([nn.Parameter(torch.zeros(1))])
    assert again.param_groups[0]["lr"] == pytest.approx(0.05)
    old = {key: value for key, value in description.items() if key != "compiled"}
    DESCRIPTION.check(old, "")
    assert PortedNetwork(rebuild(old)).optimizer([nn.Parameter(torch.zeros(1))]).clip is None  # type: ignore[attr-defined]
    for wrong in ({"optimizer": {"class": "Mine"}}, {"clipping": {"clipnorm": -1.0}},
                  {"optimizer": {"class": "SGD", "learning_rate": "x"}}, 3):  # fmt: skip
        with pytest.raises(Unfit):
            DESCRIPTION.check(description | {"compiled": wrong}, "")


def test_labels_of_hard_sigmoids_are_predicted_as_they_are() -> None:
    model = saved(loss=BINARY, answer=(4, "hard_sigmoid"))
    network = PortedNetwork(load_keras("model.keras"))
    assert isinstance(network.head, LabelHead)
    x = X.astype("float32")
    theirs = model.predict(x, verbose=0)
    ours = network.predictions(torch.from_numpy(x)).detach()
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
