"""Every kind of answer trains, tests and predicts as Keras does it, from the command line."""

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from grulight.cli import main
from grulight.data.batches import shuffled
from grulight.keras_files.port import load_keras
from grulight.keras_files.ported_network import PortedNetwork
from grulight.training.classifier import GRUClassifier

# Keras 3.15 on NumPy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Run = Callable[..., str]
Array = NDArray[Any]
L = keras.layers
COUNT, STEPS, FEATURES, IDS = 22, 6, 3, 9
RNG = np.random.default_rng(0)
SEQUENCES = RNG.normal(size=(COUNT, STEPS, FEATURES)).astype("float32")
LENGTHS = RNG.integers(2, STEPS + 1, COUNT)
PADDING = np.arange(STEPS) >= LENGTHS[:, None]
TOKENS = RNG.integers(1, IDS, (COUNT, STEPS))
PADDED_TOKENS = np.where(PADDING, 0, TOKENS)
PADDED = np.where(PADDING[:, :, None], 0, SEQUENCES).astype("float32")
# float32, each side with its own order of sums, over an epoch of three updates: the largest
# relative difference measured over the cases below is 1.2e-7
CLOSE = 2e-6


def gru(steps: bool = False) -> Any:
    return L.GRU(4, return_sequences=steps)


def classes(count: int, *shape: int) -> Array:
    labels = RNG.integers(0, count, shape)
    labels.flat[:count] = range(count)
    return labels


def values(*shape: int) -> Array:
    return RNG.normal(size=shape).astype("float32")


@dataclass(frozen=True)
class Case:
    """A model, its data, and what Keras compiles it with.

    Attributes:
        layers: Made when their turn comes.
        x: As Keras takes it.
        y: As Keras takes it.
        loss: Keras' own.
        metric: Keras' own, and what we log it as.
        lengths: What our data say as well.
    """

    layers: Callable[[], list[Any]]
    x: Array
    y: Array
    loss: Any
    metric: tuple[str, str] = ("accuracy", "accuracy")
    lengths: Array | None = None
    shape: tuple[int | None, ...] = field(default=(None, FEATURES))

    @property
    def logits(self) -> bool:
        """Whether the model's answers are logits of two classes."""
        return self.metric[0] == "binary_accuracy" and not isinstance(self.loss, str)

    def optimizer(self) -> Any:
        """Return Keras' Adam; SGD where there is an Embedding.

        Keras' Adam squares the gradient of an id before it sums it over the places where the id
        occurs (keras 3.15, backend/tensorflow/sparse.py), which no other program does.
        """
        return keras.optimizers.SGD(0.1) if len(self.shape) == 1 else keras.optimizers.Adam()

    def model(self) -> Any:
        keras.utils.set_random_seed(3)
        model = keras.Sequential([L.Input(self.shape), *self.layers()])
        for weight in model.trainable_weights:  # zeros would hide a wrong bias
            weight.assign(weight + 0.1 * RNG.normal(size=weight.shape))
        # where Keras takes logits, its 0.5 is no probability
        metric = keras.metrics.BinaryAccuracy(threshold=0) if self.logits else self.metric[0]
        model.compile(self.optimizer(), self.loss, metrics=[metric], run_eagerly=True)
        return model


MAE = ("mae", "mae")
SPARSE = "sparse_categorical_crossentropy"
CASES = {
    "class": Case(lambda: [gru(), L.Dense(3, "softmax")], SEQUENCES, classes(3, COUNT), SPARSE),
    "class of one-hot rows": Case(
        lambda: [gru(), L.Dense(STEPS, "softmax")],  # as many columns as there are steps
        SEQUENCES,
        np.eye(STEPS)[classes(STEPS, COUNT)],
        "categorical_crossentropy",
    ),
    "next character, some never seen": Case(
        lambda: [L.Embedding(IDS, 5), gru(), L.Dense(IDS, "softmax")],
        TOKENS,
        classes(IDS - 3, COUNT),
        SPARSE,
        shape=(None,),
    ),
    "sentiment": Case(
        lambda: [L.Embedding(IDS, 5, mask_zero=True), gru(), L.Dense(1, "sigmoid")],
        PADDED_TOKENS,
        classes(2, COUNT),
        "binary_crossentropy",
        shape=(STEPS,),
    ),
    "sentiment from logits": Case(
        lambda: [L.Embedding(IDS, 5), gru(), L.Dense(1)],
        TOKENS,
        classes(2, COUNT),
        keras.losses.BinaryCrossentropy(from_logits=True),
        ("binary_accuracy", "accuracy"),
        shape=(None,),
    ),
    "tags, padding masked by the model": Case(
        lambda: [L.Embedding(IDS, 5, mask_zero=True), gru(True), L.Dense(3, "softmax")],
        PADDED_TOKENS,
        classes(3, COUNT, STEPS),
        SPARSE,
        shape=(None,),
    ),
    "tags, one-hot, in a wrapper": Case(
        lambda: [gru(True), L.TimeDistributed(L.Dense(3, "softmax"))],
        SEQUENCES,
        np.eye(3)[classes(3, COUNT, STEPS)],
        "categorical_crossentropy",
    ),
    "switch per step, lengths given": Case(
        lambda: [L.Masking(), gru(True), L.Dense(1), L.Activation("sigmoid")],
        PADDED,
        classes(2, COUNT, STEPS, 1),
        "binary_crossentropy",
        lengths=LENGTHS,
        shape=(STEPS, FEATURES),
    ),
    "characters from logits": Case(
        lambda: [L.Embedding(IDS, 5), gru(True), L.Dense(IDS)],
        TOKENS,
        classes(IDS, COUNT, STEPS),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        shape=(None,),
    ),
    "several labels": Case(
        lambda: [gru(), L.Dense(4, "sigmoid")],
        SEQUENCES,
        RNG.integers(0, 2, (COUNT, 4)),
        "binary_crossentropy",
        ("binary_accuracy", "accuracy"),
    ),
    "labels that look one-hot": Case(
        lambda: [gru(), L.Dense(2, "sigmoid")],
        SEQUENCES,
        np.eye(2)[classes(2, COUNT)],
        "binary_crossentropy",
        ("binary_accuracy", "accuracy"),
    ),
    "labels behind a change of shape": Case(
        lambda: [gru(True), L.Dense(1, "sigmoid"), L.Reshape((STEPS,))],
        SEQUENCES,
        RNG.integers(0, 2, (COUNT, STEPS)),
        "binary_crossentropy",
        ("binary_accuracy", "accuracy"),
        shape=(STEPS, FEATURES),
    ),
    "class behind a change of shape": Case(
        lambda: [gru(), L.Reshape((1, 4)), L.Dense(3, "softmax"), L.Flatten(), L.Dropout(0.0)],
        SEQUENCES,
        classes(3, COUNT),
        SPARSE,
    ),
    "forecast": Case(lambda: [gru(), L.Dense(1)], SEQUENCES, values(COUNT), "mse", MAE),
    "forecast of whole numbers": Case(
        lambda: [gru(), L.Dense(1, "relu")], SEQUENCES, classes(5, COUNT), "mse", MAE
    ),
    "forecast of a share": Case(
        lambda: [gru(), L.Dense(1, "sigmoid")], SEQUENCES, RNG.random(COUNT), "mse", MAE
    ),
    "forecast of as many values as steps": Case(
        lambda: [gru(), L.Dense(STEPS)], SEQUENCES, values(COUNT, STEPS), "mae", MAE
    ),
    "value per step": Case(
        lambda: [L.Masking(), gru(True), L.Dense(1)],
        PADDED,
        values(COUNT, STEPS, 1),
        "mse",
        MAE,
        lengths=LENGTHS,
    ),
    "values at other steps": Case(
        lambda: [gru(), L.RepeatVector(4), gru(True), L.TimeDistributed(L.Dense(2))],
        SEQUENCES,
        values(COUNT, 4, 2),
        "mse",
        MAE,
    ),
}


def saved(case: Case, suffix: str = "h5") -> tuple[Any, list[Any]]:
    """Return the Keras model, and the options that tell our commands of its data."""
    model = case.model()
    model.save(f"model.{suffix}")
    x = case.x if case.x.ndim == 3 else case.x[:, :, None]
    held = {"x": x.astype("float32"), "y": case.y}
    np.savez("data.npz", **held | ({} if case.lengths is None else {"lengths": case.lengths}))
    return model, ["--data.source", "data.npz"]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def numbers(text: str, *names: str) -> list[float]:
    lines = [line.split() for line in text.splitlines()]
    return [next(float(words[1]) for words in lines if words[:1] == [name]) for name in names]


@pytest.mark.parametrize("name", CASES)
def test_an_epoch_has_the_loss_and_the_metric_of_keras(run: Run, name: str) -> None:
    case = CASES[name]
    model, data = saved(case, "keras" if "logits" in name else "h5")
    sgd = ("--optimizer", "KerasSGD", "--optimizer.lr", 0.1)
    run("fit", "--model.from_keras", next(Path().glob("model.*")), *data, "--data.train_size", 1,
        "--data.seed", 5, "--data.batch_size", 8, "--trainer.max_epochs", 1,
        *(sgd if len(case.shape) == 1 else ()))  # fmt: skip
    order = shuffled(COUNT, 5, 0)
    history = model.fit(case.x[order], case.y[order], 8, shuffle=False, verbose=0).history
    [ours] = table(Path("lightning_logs/version_0/metrics.csv"))
    theirs, logged = case.metric
    assert float(ours["train_loss"]) == pytest.approx(history["loss"][0], rel=CLOSE)
    assert float(ours[f"train_{logged}"]) == pytest.approx(history[theirs][0], rel=CLOSE)


@pytest.mark.parametrize("name", CASES)
def test_a_ported_checkpoint_tests_and_predicts_as_keras(run: Run, name: str) -> None:
    case = CASES[name]
    model, data = saved(case)
    run("port", "model.h5", "-o", "model.ckpt")
    Path("model.h5").unlink()
    scores = run("test", "--ckpt_path", "model.ckpt", *data, "--data.train_size", 0)
    loss, metric = model.evaluate(case.x, case.y, COUNT, verbose=0)
    assert numbers(scores, "loss", case.metric[1]) == pytest.approx([loss, metric], abs=6e-5)

    run("predict", "--ckpt_path", "model.ckpt", *data)
    rows = table(Path("predictions.csv"))
    theirs = model.predict(case.x, verbose=0)
    if "logits" in name:
        ops = keras.ops
        theirs = ops.convert_to_numpy((ops.softmax if IDS in theirs.shape else ops.sigmoid)(theirs))
    if case.metric[1] == "accuracy" and theirs.shape[-1] == 1:
        theirs = np.concatenate((1 - theirs, theirs), -1)
    if theirs.ndim == 3:
        counted = [range(n) for n in (theirs.shape[1],) * COUNT]
        if case.lengths is not None:
            counted = [range(n) for n in case.lengths]
        where = [(str(i), str(step)) for i, steps in enumerate(counted) for step in steps]
        assert [(row["sequence"], row["step"]) for row in rows] == where
        theirs = np.array([theirs[int(i), int(step)] for i, step in where])
    ours = [
        [float(row[key]) for key in row if key.startswith(("value_", "probability_"))]
        for row in rows
    ]
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_settings_of_a_keras_models_training_are_searched_not_its_own(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    _, data = saved(CASES["class"])
    tune = ("tune", "--model.from_keras", "model.h5", *data, "--trials", 1, "--workers", 1)
    run(*tune, "--trainer.max_epochs", 1)
    [row] = table(Path("study/trials.csv"))
    assert {"optimizer.lr", "optimizer.weight_decay"} <= set(row)
    assert not [name for name in row if name.startswith("model.")]
    assert main([*map(str, tune), "--search.model.hidden_size", "int(2, 4)"]) == 2
    assert "model.hidden_size: the Keras model has its own" in capsys.readouterr().err


def test_what_is_searched_where_nothing_is_said_does_not_scale_ids(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    word = [L.Input((None,)), L.Embedding(7, 4), gru(), L.Dense(2, "softmax")]
    keras.Sequential(word).save("model.keras")
    ids = np.random.default_rng(0).integers(0, 7, (20, 5, 1))
    np.savez("data.npz", x=ids, y=ids[:, 0, 0] > 3)
    short = ("--data.source", "data.npz", "--trainer.max_epochs", 1)
    tune = ("tune", *short, "--trials", 1, "--workers", 1)
    run(*tune, "--model.from_keras", "model.keras")
    [row] = table(Path("study/trials.csv"))
    assert "optimizer.lr" in row
    weights = ("--model.weights", "study/lightning_logs/version_0/checkpoints/last.ckpt")
    run(*tune, *weights, "--study", "further")
    scaled = (*tune, *weights, "--data.standardize", "true", "--study", "scaled")
    assert main([*map(str, scaled)]) == 2
    assert "reads ids; leave out --data.standardize" in capsys.readouterr().err


def test_a_keras_model_trains_with_its_dropout_wherever_it_is_trained() -> None:
    model = keras.Sequential([L.Input((None, FEATURES)), gru(), L.Dropout(0.5), L.Dense(3)])
    model.save("model.keras")
    ours = GRUClassifier(FEATURES, 0, num_values=3, from_keras="model.keras")
    assert all(module.training for module in ours.modules())
    x = torch.from_numpy(SEQUENCES)
    assert not torch.equal(ours(x), ours(x))
    assert torch.equal(ours.eval()(x), ours(x))


TOGETHER = {
    name: CASES[name]
    for name in (
        *("class", "sentiment", "tags, padding masked by the model", "several labels"),
        *("switch per step, lengths given", "value per step"),
    )
} | {
    "class, regularised": Case(
        lambda: [L.GRU(4, kernel_regularizer="l2"), L.Dense(3, "softmax")],
        SEQUENCES,
        classes(3, COUNT),
        SPARSE,
    )
}


@pytest.mark.parametrize("name", TOGETHER)
def test_ported_checkpoints_together_test_as_keras_average_of_them(run: Run, name: str) -> None:
    case = TOGETHER[name]
    one, data = saved(case)
    other = case.model()
    for weight in other.trainable_weights:
        weight.assign(weight + RNG.normal(size=weight.shape))
    other.save("other.h5")
    for number, file in enumerate(("model.h5", "other.h5")):
        checkpoints = Path(f"run/lightning_logs/version_{number}/checkpoints")
        checkpoints.mkdir(parents=True)
        run("port", file, "-o", checkpoints / "last.ckpt")
    Path("run/seeds.csv").write_text("seed\n0\n1\n")
    scores = run("test", "--ckpt_path", "run", *data, "--data.train_size", 0)
    x = L.Input(case.shape)
    average = keras.Model(x, L.Average()([one(x), other(x)]))
    average.compile(loss=case.loss, metrics=[case.metric[0]], run_eagerly=True)
    loss, metric = average.evaluate(case.x, case.y, COUNT, verbose=0)
    loss -= sum(map(float, average.losses)) / 2  # of both models, where ours is their mean
    assert numbers(scores, "loss", case.metric[1]) == pytest.approx([loss, metric], abs=6e-5)


@pytest.mark.parametrize("steps", [None, STEPS + 2], ids=["any number", "more than there are"])
def test_a_model_without_masks_reads_zeros_where_there_is_padding(
    steps: int | None, tmp_path: Path
) -> None:
    model = keras.Sequential([L.Input((steps, FEATURES)), gru(), L.Dense(2)])
    model.save(tmp_path / "model.keras")
    network = PortedNetwork(load_keras(tmp_path / "model.keras"))
    lengths = np.random.default_rng(0).integers(1, STEPS + 1, COUNT)
    padding = np.arange(STEPS) >= lengths[:, None]
    left, zeros = SEQUENCES.copy(), SEQUENCES.copy()
    left[padding], zeros[padding] = np.nan, 0.0
    more = np.pad(zeros, ((0, 0), (0, (steps or STEPS) - STEPS), (0, 0)))
    ours = network(torch.from_numpy(left), torch.from_numpy(lengths)).detach()
    np.testing.assert_allclose(ours, np.asarray(model(more)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("fixed", [True, False], ids=["STEPS", "any number"])
def test_padding_is_what_the_model_masks(fixed: bool, tmp_path: Path) -> None:
    layers = [L.Input((STEPS if fixed else None, FEATURES)), L.Masking(-1.0), gru(), L.Dense(2)]
    model = keras.Sequential(layers)
    model.save(tmp_path / "model.keras")
    network = PortedNetwork(load_keras(tmp_path / "model.keras"))
    masked = np.where(PADDING[:, :, None], np.float32(-1), SEQUENCES)
    shortest = LENGTHS.argsort()[:5]  # a batch that is cut to its longest
    cut = PADDED[shortest, : LENGTHS[shortest].max()]
    ours = network(torch.from_numpy(cut), torch.from_numpy(LENGTHS[shortest])).detach()
    np.testing.assert_allclose(ours, np.asarray(model(masked))[shortest], rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Layer .conv1d.*mask:UserWarning")
@pytest.mark.parametrize("loses_mask", [False, True], ids=["no mask", "a mask that is lost"])
def test_what_a_model_without_masks_answers_does_not_depend_on_the_batch(
    loses_mask: bool, run: Run, tmp_path: Path
) -> None:
    lost = [L.Masking(), L.Conv1D(3, 2, padding="same")] if loses_mask else []
    layers = [L.Input((None, FEATURES)), *lost, gru(), L.Dense(3, "softmax")]
    model = keras.Sequential(layers)
    model.save(tmp_path / "model.keras")
    np.savez("data.npz", x=PADDED, lengths=LENGTHS)
    run("port", tmp_path / "model.keras", "-o", "port.ckpt")
    for size in (1, 4, COUNT):
        options = ("--data.source", "data.npz", "--data.batch_size", size)
        printed = run("predict", "--ckpt_path", "port.ckpt", *options, "--output", "p.csv")
        said = f"masks no steps: behind sequences shorter than {STEPS} steps" in printed
        assert said is not loses_mask
        with open("p.csv") as file:
            rows = list(csv.DictReader(file))
        ours = [[float(row[f"probability_{n}"]) for n in range(3)] for row in rows]
        np.testing.assert_allclose(ours, np.asarray(model(PADDED)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_a_probability_of_none_costs_what_keras_clips_it_to(
    activation: str, tmp_path: Path
) -> None:
    outputs = 1 if activation == "sigmoid" else 3
    bias = keras.initializers.Constant(200.0 if outputs == 1 else 0.0)
    head = L.Dense(outputs, activation=activation, bias_initializer=bias)
    model = keras.Sequential([L.Input((STEPS, FEATURES)), gru(), head])
    if outputs == 3:
        kernel, bias = head.get_weights()
        head.set_weights([kernel, np.float32([0, 200, 0])])
    model.save(tmp_path / "model.keras")
    network = PortedNetwork(load_keras(tmp_path / "model.keras"))
    wrong = torch.zeros(COUNT, dtype=torch.int64)
    loss = network.head.score(network(torch.from_numpy(SEQUENCES)), wrong).loss
    probabilities = np.asarray(model(SEQUENCES))  # a tensor would bring its logits along
    losses = keras.losses
    binary = outputs == 1
    cost = losses.BinaryCrossentropy() if binary else losses.SparseCategoricalCrossentropy()
    expected = float(cost(np.zeros((COUNT, 1) if binary else COUNT), probabilities))
    assert 15 < expected < 17
    assert loss.item() == pytest.approx(expected, rel=2e-2)
