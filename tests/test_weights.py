"""Weights of classes and sequences, and label smoothing, with Keras' meaning."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from grulight.cli import main
from grulight.data.datamodule import SequenceDataModule
from grulight.errors import InputError
from grulight.heads import ClassHead, Head, LabelHead, ValueHead
from grulight.runs.checkpoint import load_classifier
from grulight.training.class_weights import class_weights
from grulight.training.classifier import GRUClassifier

Run = Callable[..., str]
LAST = Path("lightning_logs/version_0/checkpoints/last.ckpt")


def arrays(per_step: bool = False, count: int = 60) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 6, 2)).astype("f4")
    seen = x.cumsum(axis=1).sum(axis=-1)
    y = (seen > 1).astype(int) if per_step else (seen[:, -1] > 2).astype(int)
    lengths = rng.integers(1, 7, count)
    return {"x": x, "y": y, "lengths": lengths, "weights": rng.uniform(0, 3, count)}


@pytest.mark.parametrize(
    ("head", "targets"),
    [
        (ClassHead(3), torch.tensor([0, 2, 1, 1])),
        (ClassHead(1, label_smoothing=0.2), torch.tensor([0, 1, 1, 0])),
        (LabelHead(3), torch.tensor([[0, 1, 1], [1, 1, 0], [0, 0, 0], [1, 0, 1]])),
        (ValueHead(3), torch.linspace(-1, 1, 12).reshape(4, 3)),
        (ValueHead(3, error="log_cosh"), torch.linspace(-1, 1, 12).reshape(4, 3)),
        (ValueHead(3, error="huber", delta=0.3), torch.linspace(-1, 1, 12).reshape(4, 3)),
    ],
)
def test_each_loss_is_multiplied_and_the_mean_divides_by_the_number(
    head: Head, targets: torch.Tensor
) -> None:
    answers = torch.randn(4, head.size, generator=torch.Generator().manual_seed(0)).double()
    weights = torch.tensor([0.0, 0.5, 3.0, 1.0])
    each = torch.stack([head.loss(answers[n : n + 1], targets[n : n + 1]) for n in range(4)])
    ours = head.score(answers, targets, None, weights)
    torch.testing.assert_close(ours.loss, (each * weights).sum() / 4)
    assert ours.metric == head.score(answers, targets).metric
    assert ours.counted == 4


def test_hubers_error_goes_over_to_absolutes_at_its_delta() -> None:
    head = ValueHead(1, error="huber", delta=0.5)
    answers = torch.tensor([[0.3], [2.0]])
    squared, absolute = 0.3**2 / 2, 0.5 * (2 - 0.25)
    loss = head.loss(answers, torch.zeros(2, 1)).item()
    assert loss == pytest.approx((squared + absolute) / 2)


def test_weights_of_sequences_weigh_all_of_their_steps() -> None:
    head = ClassHead(2, per_step=True)
    answers, targets = torch.randn(2, 3, 2).double(), torch.tensor([[0, 1, 1], [1, 0, 0]])
    valid = torch.tensor([[True, True, True], [True, False, False]])
    weights = torch.tensor([2.0, 0.5])
    each = torch.nn.functional.cross_entropy(answers[valid], targets[valid], reduction="none")
    expected = (each * torch.tensor([2.0, 2.0, 2.0, 0.5])).sum() / 4
    torch.testing.assert_close(head.score(answers, targets, valid, weights).loss, expected)


@pytest.mark.filterwarnings("ignore:`training_step` returned")
@pytest.mark.parametrize("class_weight", ["balanced", None])
@pytest.mark.parametrize("per_step", [False, True], ids=["per sequence", "per step"])
def test_compiled_steps_weigh_as_single_ones_do(per_step: bool, class_weight: str | None) -> None:
    given = arrays(per_step)
    np.savez("data.npz", **given)
    found = []
    for steps in (1, 3):
        torch.manual_seed(0)
        data = SequenceDataModule("data.npz", val_size=0.2, batch_size=10, seed=0)
        settings = {"class_weight": class_weight, "label_smoothing": 0.1}
        model = GRUClassifier(**data.describe(), **settings, steps_per_execution=steps)
        trainer = Trainer(
            max_epochs=4, precision="64-true", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(model, datamodule=data)
        found.append({name: each.clone() for name, each in model.state_dict().items()})
    for name, ours in found[1].items():
        torch.testing.assert_close(ours, found[0][name], rtol=1e-11, atol=1e-13)


def test_balanced_weights_are_scikit_learns() -> None:
    theirs = pytest.importorskip("sklearn.utils.class_weight", reason="needs scikit-learn")
    np.savez("data.npz", **arrays())
    train = SequenceDataModule("data.npz").parts.train
    ours = class_weights("balanced", train.class_names, train)
    expected = theirs.compute_class_weight("balanced", classes=np.arange(2), y=train.labels)
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


def test_a_rare_class_is_found_with_balanced_weights(run: Run) -> None:
    rng = np.random.default_rng(1)
    y = (rng.random(800) < 0.05).astype(int)
    x = rng.normal(size=(800, 5, 1)) + y[:, None, None] * 0.8
    np.savez("rare.npz", x=x, y=y)
    recalls = []
    for number, more in enumerate(([], ["--model.class_weight", "balanced"])):
        run("fit", "--data.source", "rare.npz", "--trainer.max_epochs", 15, *more)
        path = Path(f"lightning_logs/version_{number}/checkpoints/last.ckpt")
        ours = load_classifier(path).predict_proba(x).argmax(axis=1)
        recalls.append((ours == 1)[y == 1].mean())
    assert recalls[0] < 0.5 < recalls[1]


def test_a_column_of_weights_is_no_feature_and_weighs(run: Run) -> None:
    given = arrays(count=40)
    rows = ["sequence;label;gewicht;u;v"]
    for n, (x, length) in enumerate(zip(given["x"], given["lengths"], strict=True)):
        weight = f"{given['weights'][n]:.3f}".replace(".", ",")
        rows += [
            f"s{n};{given['y'][n]};{weight};{u:.3f};{v:.3f}".replace(".", ",")
            for u, v in x[:length]
        ]
    Path("table.csv").write_text("\n".join(rows))
    data = SequenceDataModule("table.csv", weight="gewicht", separator=";")
    train = data.parts.train
    assert train.feature_names == ("u", "v")
    np.testing.assert_allclose(train.weights, given["weights"][:32], atol=6e-4)
    run("fit", "--data.source", "table.csv", "--data.weight", "gewicht", "--trainer.max_epochs", 2)
    run("test", "--ckpt_path", LAST, "--data.source", "table.csv")  # the checkpoint knows


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weights": np.full(60, -1.0)}, "the weight of sequence '0' is -1.0"),
        ({"weights": np.full(60, np.nan)}, "the weight of sequence '0' is nan"),
        ({"weights": np.ones(59)}, "weights has shape (59,), expected (60,)"),
        ({"weights": np.full(60, "a")}, "weights holds <U1, expected numbers"),
    ],
)
def test_weights_that_are_none_are_refused(
    change: dict[str, np.ndarray], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez("data.npz", **arrays() | change)
    assert main(["fit", "--data.source", "data.npz"]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model.class_weight", "even"], "even: expected balanced or a mapping"),
        (["--model.class_weight", "{up: -1}"], "'up': -1.0, expected 0 or more"),
        (["--model.class_weight", "{sideways: 2}"], "'sideways' is none of the classes"),
        (["--model.label_smoothing", "1"], "--model.label_smoothing 1.0: expected 0 up to below 1"),
    ],
)
def test_settings_of_the_loss_that_make_no_sense_are_refused(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", *options]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_arrays_in_memory_may_have_weights() -> None:
    given = arrays()
    x, y, weights = (given[name] for name in ("x", "y", "weights"))
    data = SequenceDataModule((x, y, weights), train_size=50)
    np.testing.assert_array_equal(data.parts.train.weights, weights[:50].astype("f4"))
    assert SequenceDataModule((x, y)).parts.train.weights is None
    for wrong, words in ((weights[:9], "weights"), (weights[:, None], "weights"), (-weights, "-")):
        with pytest.raises(InputError, match=rf"\(x, y, weights\): .*{words}"):
            _ = SequenceDataModule((x, y, wrong)).parts
    with pytest.raises(InputError, match="has 4 entries, expected 2, or 3 with weights"):
        _ = SequenceDataModule((x, y, weights, weights)).parts
