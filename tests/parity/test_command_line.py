import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from grulight.data.datamodule import SequenceDataModule
from grulight.training.classifier import GRUClassifier
from parity import commands
from parity.__main__ import main


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A fresh default model: its weights do not matter, the way to the verdict does."""
    directory = tmp_path_factory.mktemp("run")
    data = SequenceDataModule()
    torch.manual_seed(0)
    task = GRUClassifier(
        data.input_size,
        data.num_classes,
        class_names=data.class_names,
        feature_names=data.feature_names,
    )
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.strategy.connect(task)
    trainer.save_checkpoint(directory / "fresh.ckpt")
    return str(directory / "fresh.ckpt")


def test_check_of_a_default_model_says_the_same(
    checkpoint: str, sequences: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, figures = tmp_path / "r.html", tmp_path / "r.json"
    files = ["--report", str(page), "--json", str(figures)]
    assert main(["check", checkpoint, "--data", sequences, *files]) == 0
    assert "the same: every rung agrees" in " ".join(capsys.readouterr().out.split())
    found = json.loads(figures.read_text())
    assert [(rung["rung"], rung["dtype"]) for rung in found["rungs"]] == [
        (rung, dtype) for rung in range(6) for dtype in ("float64", "float32")
    ]
    worst = {
        rung["rung"]: rung["relative"] for rung in found["rungs"] if rung["dtype"] == "float64"
    }
    assert worst[0] == 0.0
    assert worst[1] <= 1e-14
    assert max(worst.values()) <= 1e-12
    assert len(found["controls"]) >= 10
    assert min(control["factor"] for control in found["controls"]) >= 1000
    assert [
        entry["name"].split("(")[1].split(",")[0].rstrip(")") for entry in found["implementations"]
    ] == ["auto: numba", "torch", "numba", "eager", "function", "xla", "compile"]
    assert "<svg" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "missing.ckpt"], "missing.ckpt: does not exist"),
        (["check", __file__], "cannot be read as a checkpoint"),
        (["check", "model.keras"], "model.keras: no such file"),
        (["check", "model.keras", "--onnx"], "--onnx goes with checkpoints only"),
        (
            ["record", "model.keras", "-o", "r.safetensors"],
            "is a Keras file; expected a checkpoint",
        ),
        (
            ["check", "x.ckpt", "--kernel", "magic"],
            "--kernel magic: choose one of auto, torch, numba",
        ),
        (["check", "x.ckpt", "--device", "magic"], "--device magic: choose cpu or cuda"),
        (["replay", "missing.safetensors"], "missing.safetensors: cannot be read"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"parity {arguments[0]}: ")
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "output"),
    [
        *(("check", each) for each in ("--json", "--report")),
        *(("replay", each) for each in ("--json", "--report")),
        ("record", "-o"),
    ],
)
def test_nothing_is_written_over_what_is_read(
    command: str, output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    read = tmp_path / "read.keras"
    read.write_bytes(b"of the user's")
    assert main([command, str(read), output, str(read)]) == 2
    assert "is read here, and would be lost" in capsys.readouterr().err
    assert read.read_bytes() == b"of the user's"


def test_an_unexpected_exception_is_one_line_and_never_a_difference(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(options: object) -> int:
        raise KeyError("a\nb" * 1000)

    monkeypatch.setattr(commands, "check", fails)
    assert main(["check", "x.ckpt"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("parity check: could not tell, because of KeyError in test_command_line")
    assert len(said) <= 500
    assert said.count("\n") == 1


def test_too_few_seeds_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["check", "x.ckpt", "--distribution", "--seeds", "19"])
    assert stopped.value.code == 2
    assert "expected at least 20, got 19" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="tests what happens without CUDA")
def test_a_device_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "x.ckpt", "--device", "cuda"]) == 2
    assert "--device cuda: no CUDA device is available" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["check", "x.ckpt"], ["record", "x.ckpt", "-o", "r"]])
def test_without_tensorflow_the_extra_is_named(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "find_spec", lambda name: None)
    assert main(command) == 2
    assert "pip install 'grulight[parity]'" in capsys.readouterr().err


@pytest.fixture(scope="module")
def sequences(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Fewer and shorter than the default, which test_5 and the record cover."""
    path = tmp_path_factory.mktemp("data") / "few.npz"
    rng = np.random.default_rng(0)
    x = rng.normal(size=(160, 6, 5)).astype(np.float32)
    y = np.array(["up", "down", "still"])[np.arange(160) % 3]
    np.savez(path, x=x, y=y, lengths=rng.integers(1, 7, 160))
    return str(path)


def test_data_that_do_not_fit_are_named(
    checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", checkpoint, "--data", str(tmp_path / "none.npz")]) == 2
    assert "none.npz" in capsys.readouterr().err
