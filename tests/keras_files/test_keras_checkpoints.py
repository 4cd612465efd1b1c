"""`grulight port` writes a checkpoint for every model; what the commands say to each of them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch

import grulight
from grulight.cli import main
from grulight.errors import InputError
from grulight.keras_files.reader.compiled_loss import recorded_loss

# Keras 3.15 on NumPy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Run = Callable[..., str]
L = keras.layers
GENERATOR = np.random.default_rng(0)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([str(argument) for argument in arguments]) == 2
    [line] = capsys.readouterr().err.splitlines()
    return line


def sequential(*layers: Any, path: str = "model.keras") -> Any:
    model = keras.Sequential(layers)
    model.save(path)
    return model


def encoder_decoder() -> Any:
    """Return a translator: two sequences of ids in, one of characters out, and its state."""
    source, target = L.Input((None,), name="source"), L.Input((None,), name="target")
    _, state = L.GRU(5, return_state=True)(L.Embedding(7, 4)(source))
    read = L.GRU(5, return_sequences=True)(L.Embedding(8, 4)(target), initial_state=state)
    model = keras.Model([source, target], [L.Dense(8, "softmax")(read), state])
    model.save("model.keras")
    return model


def data(y: Any, *shape: int, ids: int | None = None, **more: Any) -> tuple[str, str]:
    x = GENERATOR.integers(0, ids, shape) if ids else GENERATOR.normal(size=shape)
    np.savez("data.npz", x=x, y=y, **more)
    return "--data.source", "data.npz"


def test_a_model_of_several_inputs_comes_back_from_its_checkpoint(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = encoder_decoder()
    printed = " ".join(run("port", "model.keras", "-o", "model.ckpt").split())
    assert "needs neither model.keras nor TensorFlow" in printed
    assert "`grulight.load_keras` runs it from Python" in printed
    Path("model.keras").unlink()
    ours = grulight.load_keras("model.ckpt")
    ids = [GENERATOR.integers(0, 7, (3, steps)) for steps in (5, 4)]
    found = ours(*map(torch.from_numpy, ids))
    for our, their in zip(found, theirs.predict(ids, verbose=0), strict=True):
        np.testing.assert_allclose(our.detach().numpy(), their, atol=1e-6)
    for command in ("test", "predict", "validate", "fit"):
        line = refused(capsys, command, "--ckpt_path", "model.ckpt")
        assert "model.ckpt: a model with inputs of shape (None, None), (None, None)" in line
        assert "`grulight.load_keras` runs it from Python" in line
    run("export", "model.ckpt", "-o", "model.onnx")
    assert Path("model.onnx").is_file()


def test_fit_on_a_file_of_several_inputs_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    encoder_decoder()
    line = refused(capsys, "fit", "--model.from_keras", "model.keras")
    assert "model.keras: a model with inputs of shape" in line


def test_what_a_trained_keras_model_became_comes_back_from_its_checkpoint(run: Run) -> None:
    sequential(L.Input((4, 2)), L.GRU(3), L.Dense(1))
    source = data(GENERATOR.normal(size=10), 10, 4, 2)
    run("fit", "--model.from_keras", "model.keras", *source, "--trainer.max_epochs", 2)
    last = "lightning_logs/version_0/checkpoints/last.ckpt"
    trained, before = grulight.load_keras(last), grulight.load_keras("model.keras")
    x = torch.randn(2, 4, 2)
    assert not torch.equal(trained(x), before(x))
    classifier = grulight.load_classifier(last)
    torch.testing.assert_close(trained(x), classifier(x), rtol=0, atol=0)
    # and trains on from there
    run("fit", "--model.from_keras", last, *source, "--trainer.max_epochs", 1)


def test_a_checkpoint_of_a_grunet_holds_no_keras_model(last_checkpoint: Path) -> None:
    with pytest.raises(InputError, match=r"holds no Keras model; grulight.load_classifier opens"):
        grulight.load_keras(last_checkpoint)


def test_ids_beyond_the_embedding_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    sequential(L.Input((None,)), L.Embedding(7, 4), L.GRU(3), L.Dense(2, "softmax"))
    x = np.full((10, 4, 1), 7)
    np.savez("data.npz", x=x, y=[0, 1] * 5)
    arguments = ("fit", "--model.from_keras", "model.keras", "--data.source", "data.npz")
    line = refused(capsys, *arguments)
    assert "the data have 7 where the Keras model reads ids for its Embedding" in line
    assert "from 0 to 6" in line
    assert "reads ids" in refused(capsys, *arguments, "--data.standardize", "true")


@pytest.mark.parametrize(
    ("y", "says"),
    [
        (np.zeros((10, 4)), "answers with 2 values per sequence, but the data have .* 4 values"),
        (np.zeros((10, 3, 2)), "y: has shape \\(10, 3, 2\\), expected \\(sequences,\\)"),
        (["a", "b"] * 5, "y: holds <U1, expected numbers"),
    ],
)
def test_a_head_and_data_that_do_not_fit_are_refused(
    capsys: pytest.CaptureFixture[str], y: Any, says: str
) -> None:
    sequential(L.Input((3, 2)), L.GRU(3), L.Dense(2))
    source = data(y, 10, 3, 2)
    assert re.search(says, refused(capsys, "fit", "--model.from_keras", "model.keras", *source))


def test_steps_that_do_not_fit_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    sequential(L.Input((6, 2)), L.GRU(3), L.RepeatVector(5), L.GRU(2, return_sequences=True))
    arguments = ("fit", "--model.from_keras", "model.keras")
    line = refused(capsys, *arguments, *data(np.zeros((10, 5, 2)), 10, 4, 2))
    assert "reads sequences of 6 steps, the data have 4" in line
    line = refused(capsys, *arguments, *data(np.zeros((10, 3, 2)), 10, 6, 2))
    assert "answers with (5, 2) per sequence, but the data have labels (3, 2)" in line


def test_a_model_of_values_is_exported(run: Run) -> None:
    sequential(L.Input((3, 2)), L.GRU(3), L.Dense(2))
    run("port", "model.keras", "-o", "model.ckpt")
    run("export", "model.ckpt", "-o", "model.onnx")
    assert Path("model.onnx").is_file()


def test_names_given_to_a_port_come_back_in_predictions(run: Run) -> None:
    sequential(L.Input((3, 2)), L.GRU(3), L.Dense(2))
    names = ("--class-names", "low", "high", "--feature-names", "a", "b")
    run("port", "model.keras", "-o", "model.ckpt", *names)
    source = data(np.zeros(4), 4, 3, 2)
    run("predict", "--ckpt_path", "model.ckpt", *source, "--data.targets", "classes",
        "--data.per_step", "false")  # fmt: skip
    assert Path("predictions.csv").read_text().startswith("sequence,value_low,value_high\n")


@pytest.mark.parametrize(
    ("loss", "name", "from_logits"),
    [
        ("mse", "mean_squared_error", False),
        ({"out": "binary_crossentropy"}, "binary_crossentropy", False),
        (["mean_absolute_error"], "mean_absolute_error", False),
        (
            {"class_name": "SparseCategoricalCrossentropy", "config": {"from_logits": True}},
            "categorical_crossentropy",
            True,
        ),
        ({"class_name": "function", "config": "mean_squared_error"}, "mean_squared_error", False),
    ],
)
def test_a_recorded_loss_is_a_word(loss: object, name: str, from_logits: bool) -> None:
    assert recorded_loss({"loss": loss}) == {"name": name, "from_logits": from_logits}


@pytest.mark.parametrize("loss", [None, "os.system", {"a": "mse", "b": "mse"}, 3, {"config": {}}])
def test_any_other_recorded_loss_is_none(loss: object) -> None:
    assert recorded_loss({"loss": loss}) is None
    assert recorded_loss(loss) is None
