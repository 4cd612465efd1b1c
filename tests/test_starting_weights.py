"""A new training starts from old weights, with frozen parts, and needs the old file no more."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from grulight import GRUClassifier, load_classifier
from grulight.cli import main
from grulight.errors import InputError
from tests.keras_files import kerasbytes as kb
from tests.test_cli import long_csv

Run = Callable[..., str]
LAST = "lightning_logs/version_{}/checkpoints/last.ckpt"
FAST = ("--trainer.max_epochs", 1)
SMALL = {"input_size": 2, "num_classes": 3}


def saved(**settings: Any) -> str:
    """Write a classifier as ``grulight fit`` does; return where."""
    model = GRUClassifier(**SMALL | settings)
    held = {"hyper_parameters": dict(model.hparams), "state_dict": model.state_dict()}
    torch.save({"grulight_format": 1, **held}, "old.ckpt")
    return "old.ckpt"


def held(path: str) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


def own_data(names: str = "xyz") -> Path:
    return long_csv(Path("mine.csv"), {f"s{i}": names[i % len(names)] for i in range(60)})


def test_a_training_starts_from_old_weights_and_leaves_a_checkpoint_of_its_own(run: Run) -> None:
    run("fit", *FAST)
    old = Path(LAST.format(0)).rename("old.ckpt")
    still = ("--optimizer", "SGD", "--optimizer.lr", 1e-30)
    assert "all weights are those of old.ckpt" in run("fit", *FAST, "--model.weights", old, *still)
    before, after = held("old.ckpt"), held(LAST.format(1))
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert torch.load(LAST.format(1), weights_only=True)["global_step"] == 25
    old.unlink()
    load_classifier(LAST.format(1))
    run("fit", *still, "--model.weights", old, "--trainer.max_epochs", 2, "--ckpt_path", "auto")
    config = Path("lightning_logs/version_1/config.yaml").read_text()
    assert "weights: old.ckpt" in config


def test_other_classes_keep_the_gru_and_get_a_head_of_their_own(run: Run) -> None:
    old = held(saved(class_names=["up", "down", "still"], feature_names=["a", "b"]))
    printed = run("fit", *FAST, "--data.source", own_data(), "--model.weights", "old.ckpt",
                  "--model.freeze", "gru.*")  # fmt: skip
    assert "but for head.weight and head.bias, which are drawn anew" in printed
    assert "here x, y, z" in printed
    new = held(LAST.format(0))
    for name in old:
        assert torch.equal(new[name], old[name]) == name.startswith("network.gru"), name
    printed = run("fit", *FAST, "--data.source", own_data("xy"), "--model.weights", "old.ckpt")
    assert "drawn anew" in printed  # of another size, too


def test_frozen_weights_stay_so_in_a_continued_run(run: Run) -> None:
    some = ("--model.freeze", "['gru.weight_*', head.bias]")
    run("fit", *some, "--trainer.max_epochs", 2)
    run("fit", *some, *FAST)
    run("fit", *some, "--trainer.max_epochs", 2, "--ckpt_path", LAST.format(1))
    ours, theirs = held(LAST.format(2)), held(LAST.format(0))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert not torch.equal(theirs["network.gru.bias_ih_l0"], torch.zeros(48))
    assert torch.equal(theirs["network.head.bias"], torch.zeros(3))


def keras_checkpoint(run: Run) -> str:
    file = kb.saved(Path(), kb.legacy(*kb.small_model()))
    run("port", file, "-o", "ported.ckpt")
    return "ported.ckpt"


def test_a_ported_model_is_trained_further_from_its_checkpoint(run: Run) -> None:
    old = held(keras_checkpoint(run))
    x = np.random.default_rng(0).normal(size=(40, 7, 3)).astype("float32")
    np.savez("new.npz", x=x, y=np.arange(40) % 2)
    data = ("--data.source", "new.npz", "--optimizer", "SGD", "--optimizer.lr", 1e-30)
    run("fit", *FAST, *data, "--model.weights", "ported.ckpt")
    Path("ported.ckpt").unlink()
    new = load_classifier(LAST.format(0)).state_dict()
    assert new.keys() == old.keys()
    assert all(torch.equal(new[name], old[name]) for name in old)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"hidden_size": 8, "bias": False}, r"Add hidden_size=16 bias=True\."),
        ({"input_size": 5}, "its weights read 2 features, the data have 5"),
        ({"feature_names": ["b", "a"]}, "in the order a, b"),
        ({"freeze": "gate.*"}, "fits none of the weights gru.weight_ih_l0"),
        ({"freeze": ["gru.*", "head.*"]}, "no weight is left to train"),
        ({"from_keras": "m.h5"}, "each is a model"),
        ({"weights": "nope.ckpt"}, "does not exist"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_weights_that_do_not_fit_are_refused(settings: dict[str, Any], says: str) -> None:
    path = saved(feature_names=["a", "b"])
    with pytest.raises(InputError, match=says) as caught:
        GRUClassifier(**SMALL | {"weights": path} | settings)
    assert len(str(caught.value)) < 500


def test_weights_that_are_not_finite_are_refused() -> None:
    checkpoint = torch.load(saved(), weights_only=True)
    checkpoint["state_dict"]["network.gru.bias_hh_l0"][3] = torch.nan
    torch.save(checkpoint, "old.ckpt")
    with pytest.raises(InputError, match="not finite"):
        GRUClassifier(**SMALL, weights="old.ckpt")


def test_a_checkpoint_cannot_have_another_file_opened() -> None:
    checkpoint = torch.load(saved(), weights_only=True)
    assert checkpoint["hyper_parameters"]["weights"] is None
    checkpoint["hyper_parameters"]["weights"] = "old.ckpt"
    torch.save(checkpoint, "bad.ckpt")
    with pytest.raises(InputError, match=r"weights is 'old\.ckpt', expected nothing"):
        load_classifier("bad.ckpt")


def test_other_standardisation_is_said() -> None:
    path = saved(mean=[0.0, 1.0], scale=[1.0, 2.0])
    [*_, line] = GRUClassifier(**SMALL, weights=path).notes
    assert "trained with standardize=True" in line


def test_who_changes_the_optimizer_is_told_how_to_start_anew(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run("fit", *FAST)
    assert main(["fit", "--ckpt_path", LAST.format(0), "--optimizer.lr", "0.0001"]) == 2
    assert "start anew with --model.weights" in capsys.readouterr().err
