"""What a ported model is to those who use it: calls, table, description, training."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import kerasbytes as kb
import numpy as np
import pytest
import torch

from grulight.cli import main
from grulight.errors import InputError
from grulight.keras_files.model_description import rebuild
from grulight.keras_files.port import load_keras
from grulight.keras_files.ported_model import PortedModel


@pytest.fixture
def path(tmp_path: Path) -> Path:
    config, weights = kb.small_model()
    return kb.saved(tmp_path, kb.legacy(config, weights))


def test_model_comes_back_from_description_and_state_without_the_file(
    path: Path, tmp_path: Path
) -> None:
    ours = load_keras(path)
    torch.save({"model": ours.description, "state": ours.state_dict()}, tmp_path / "c.ckpt")
    path.unlink()
    held = torch.load(tmp_path / "c.ckpt", weights_only=True)
    assert json.loads(json.dumps(held["model"])) == held["model"]
    theirs = rebuild(held["model"])
    theirs.load_state_dict(held["state"])
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=0)
    assert theirs.table == ours.table


def test_description_of_another_format_is_refused(path: Path) -> None:
    with pytest.raises(InputError, match="format '0', expected 1"):
        rebuild(load_keras(path).description | {"format": 0})


def test_inputs_go_by_place_or_by_name(path: Path) -> None:
    model, x = load_keras(path), torch.randn(2, 5, 3)
    assert model.input_names == ("gru_input",)
    torch.testing.assert_close(model(x), model(gru_input=x), rtol=0, atol=0)
    with pytest.raises(TypeError, match="expected 1 tensors for gru_input, got 2 by place"):
        model(x, x)


def test_table_says_what_became_of_each_layer(tmp_path: Path) -> None:
    config, weights = kb.small_model()
    config["config"]["layers"][1]["config"]["kernel_constraint"] = {
        "class_name": "WeightClip",
        "config": {},
    }
    config["config"]["layers"][0]["config"]["stateful"] = True
    with pytest.warns(UserWarning, match="'gru' is stateful in Keras, .* every call from zero"):
        model = load_keras(kb.saved(tmp_path, kb.legacy(config, weights)))
    source, gru, dense = model.table
    assert (source.keras, source.output_shapes) == ("InputLayer", ((None, 7, 3),))
    assert (gru.torch, gru.parameters, gru.ignored) == ("nn.GRU", 108, ("stateful True",))
    assert (dense.output_shapes, dense.ignored) == (((None, 2),), ("kernel_constraint WeightClip",))


def test_state_that_is_not_kept_is_said_of_a_checkpoint_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, weights = kb.small_model()
    config["config"]["layers"][0]["config"]["stateful"] = True
    path = kb.saved(tmp_path, kb.legacy(config, weights))
    for command in (["port", path, "-o", "model.ckpt"], ["export", "model.ckpt", "-o", "m.pt2"]):
        assert main([*map(str, command)]) in (0, None)
        said = capsys.readouterr()
        assert said.out.count("'gru' is stateful in Keras") == 1
        assert "UserWarning" not in said.err
    with pytest.warns(UserWarning, match="model.ckpt.* is stateful in Keras"):
        load_keras("model.ckpt")


def test_frozen_layers_do_not_train(tmp_path: Path) -> None:
    config, weights = kb.small_model()
    config["config"]["layers"][0]["config"]["trainable"] = False
    model = load_keras(kb.saved(tmp_path, kb.legacy(config, weights)))
    assert [row.trainable for row in model.table] == [0, 0, 10]


def test_float64_weights_keep_every_bit(tmp_path: Path) -> None:
    config, weights = kb.small_model()
    doubles = {name: [(n, a / 3.0) for n, a in held] for name, held in weights.items()}
    doubles = {n: [(w, a.astype("f8") / 7) for w, a in held] for n, held in doubles.items()}
    model = load_keras(kb.saved(tmp_path, kb.legacy(config, doubles)))
    kernel = model.keras_arrays()["dense"]["kernel"]
    np.testing.assert_array_equal(kernel, doubles["dense"][0][1])
    assert rebuild(model.description).state_dict().keys() == model.state_dict().keys()


def dropout_model(tmp_path: Path, **settings: object) -> PortedModel:
    config, weights = kb.small_model()
    config["config"]["layers"][0]["config"] |= settings
    return load_keras(kb.saved(tmp_path, kb.legacy(config, weights)), up_to="gru")


def test_input_dropout_is_one_mask_per_sequence(tmp_path: Path) -> None:
    model = dropout_model(tmp_path, dropout=0.5, implementation=2, return_sequences=True).train()
    torch.manual_seed(0)
    x = torch.randn(64, 5, 3, requires_grad=True)
    model(x)[:, -1].sum().backward()
    dropped = x.grad == 0
    assert torch.equal(dropped.all(1), dropped.any(1))  # all steps of a feature, or none
    assert 0.3 < dropped.float().mean() < 0.7


def test_recurrent_dropout_acts_in_training_only(tmp_path: Path) -> None:
    model = dropout_model(tmp_path, recurrent_dropout=0.5)
    x = torch.randn(4, 5, 3)
    torch.testing.assert_close(model(x), model(x), rtol=0, atol=0)
    assert not torch.equal(model.train()(x), model(x))


def test_reading_imports_neither_tensorflow_nor_keras(path: Path) -> None:
    program = f"""
        import sys
        for name in ("tensorflow", "keras", "tf_keras"):
            sys.modules[name] = None  # importing it raises
        from grulight.keras_files.port import load_keras
        load_keras({str(path)!r})
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=60)


def test_container_needs_no_torch(path: Path) -> None:
    program = f"""
        import sys
        sys.modules["torch"] = None
        from pathlib import Path
        from grulight.keras_files.reader.container import read_container
        container = read_container(Path({str(path)!r}), None)
        assert container.weights.layers["gru"][0].read().shape == (3, 12)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=60)


def test_hundred_megabytes_port_in_two_seconds_and_three_times_their_size(tmp_path: Path) -> None:
    program = """
        import sys, time
        from grulight.keras_files.port import load_keras
        def peak():
            words = open("/proc/self/status").read().split()
            return int(words[words.index("VmHWM:") + 1]) << 10
        before = peak()
        start = time.perf_counter()
        load_keras(sys.argv[1])
        print(time.perf_counter() - start)
        print(peak() - before)
    """
    config = {
        "class_name": "Sequential",
        "config": {
            "layers": [
                kb.layer("Embedding", name="embedding", input_dim=20_000, output_dim=1000),
                kb.layer("GRU", **kb.gru_config(units=1000)),
            ]
        },
    }
    weights: dict[str, kb.Weights] = {
        "embedding": [("embedding/embeddings:0", np.ones((20_000, 1000), np.float32))],
        "gru": list(
            zip(
                ("gru/kernel:0", "gru/recurrent_kernel:0", "gru/bias:0"),
                kb.arrays((1000, 3000), (1000, 3000), (2, 3000)),
                strict=True,
            )
        ),
    }
    path = kb.saved(tmp_path, kb.legacy(config, weights))
    argv = [sys.executable, "-c", textwrap.dedent(program), str(path)]
    lines = subprocess.run(argv, check=True, timeout=60, capture_output=True, text=True).stdout
    seconds, grown = map(float, lines.split())
    size = path.stat().st_size
    assert size > 100_000_000
    assert seconds < 2
    assert grown < 3 * size + (200 << 20)
    print(f"{seconds:.2f} s, {grown / size:.2f} times the file")


def test_fit_says_in_one_line_that_state_is_not_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, weights = kb.small_model()
    config["config"]["layers"][0]["config"]["stateful"] = True
    path = kb.saved(tmp_path, kb.legacy(config, weights))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 7, 3)).astype("f4")
    np.savez(tmp_path / "data.npz", x=x, y=np.arange(12) % 2)
    run = ("--trainer.max_epochs=1", f"--trainer.default_root_dir={tmp_path}")
    source = f"--data.source={tmp_path / 'data.npz'}"
    assert main(["fit", f"--model.from_keras={path}", source, *run]) == 0
    said = " ".join("".join(capsys.readouterr()).split())
    assert said.count("'gru' is stateful in Keras") == 1
    assert "the port starts every call from zero" in said
