import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from grulight.checkpoint_files.reader import read_checkpoint
from grulight.cli import main
from grulight.data.datamodule import SequenceDataModule
from grulight.data.sequences import Sequences
from grulight.data.splitting import Parts
from grulight.data.waves import waves
from grulight.logits import probabilities
from grulight.model import GRUNet
from grulight.runs.checkpoint import load_classifier
from grulight.trace.charts import ticks
from grulight.trace.class_answers import ClassAnswers
from grulight.trace.commentary import percent
from grulight.trace.gates import walk
from grulight.trace.inference import ask
from grulight.trace.page import write_page
from grulight.trace.past_run import load_run
from grulight.trace.recorder import Epoch
from grulight.trace.sampling import MOST_SEQUENCES
from grulight.trace.scores import calibration_error, class_scores, reliability
from grulight.trace.training import ORIGINAL, curves, shown_epochs
from grulight.training.classifier import GRUClassifier
from tests.keras_files import kerasbytes as kb

SHAPES = {
    "plain": {},
    "no_bias": {"bias": False},
    "stacked": {"num_layers": 2},
    "bidirectional": {"bidirectional": True},
    "stacked_bidirectional": {"num_layers": 2, "bidirectional": True, "dropout": 0.3},
}
HOSTILE = ["<script>alert(1)</script>", '</script> & "it\'s" ünïcödé']


def ragged(classes: int = 3, count: int = 24) -> Sequences:
    generator = np.random.default_rng(0)
    values = generator.normal(size=(count, 9, 4)).astype(np.float32)
    lengths = generator.integers(1, 10, count)
    values[np.arange(9) >= lengths[:, None]] = np.nan  # padding is not to be read
    names = tuple(f"class {n}" for n in range(classes))
    labels = np.arange(count) % classes
    ids = np.array([f"s{n}" for n in range(count)])
    return Sequences(values, lengths, labels, names, tuple("abcd"), ids, "test data")


def parts_of(part: Sequences) -> Parts:
    half = len(part) // 2
    return Parts(part.part(0, half), part.part(half, half), part.part(half, len(part)))


def classifier_for(part: Sequences, **sizes: Any) -> GRUClassifier:
    names = {"class_names": part.class_names, "feature_names": part.feature_names}
    return GRUClassifier(len(part.feature_names), len(part.class_names), **names, **sizes).eval()


def embedded(path: Path) -> dict[str, Any]:
    """Return what the page's script draws."""
    found = re.search(r'id="data">(.*?)</script>', path.read_text(), re.S)
    assert found
    return json.loads(found[1])


@pytest.mark.parametrize("sizes", SHAPES.values(), ids=SHAPES)
def test_gates_lead_to_the_hidden_states_of_nn_gru(sizes: dict[str, Any]) -> None:
    part = ragged()
    classifier = classifier_for(part, hidden_size=7, mean=[0.5] * 4, scale=[2.0] * 4, **sizes)
    gru = classifier.network.gru
    assert isinstance(gru, torch.nn.GRU)
    for position in range(4):
        seen = walk(classifier, part, position, 99)
        raw = torch.tensor(part.values[position, : part.lengths[position]])
        with torch.no_grad():
            theirs, _ = gru(classifier.standardized(raw)[None])
        top = [layer for name, layer in seen.layers.items() if name[1] == str(gru.num_layers - 1)]
        ours = np.concatenate([layer["hidden"] for layer in top], axis=1)
        np.testing.assert_allclose(ours, theirs[0].numpy(), atol=2e-6)
        for layer in top[:1]:  # of the forward direction: h = z h + (1 - z) n
            before = np.vstack([np.zeros_like(layer["hidden"][:1]), layer["hidden"][:-1]])
            kept = layer["update"] * before + (1 - layer["update"]) * layer["candidate"]
            np.testing.assert_allclose(kept, layer["hidden"], atol=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("sizes", SHAPES.values(), ids=SHAPES)
def test_answer_at_a_step_is_that_to_the_sequence_cut_there(
    sizes: dict[str, Any], classes: int
) -> None:
    part = ragged(classes)
    classifier = classifier_for(part, **sizes)
    position = int(part.lengths.argmax())
    seen = walk(classifier, part, position, 99)
    assert seen.logits.shape == (part.lengths[position], 1 if classes == 2 else classes)
    for step in seen.steps:
        with torch.no_grad():
            theirs = classifier(torch.tensor(part.values[position : position + 1, : step + 1]))
        np.testing.assert_allclose(seen.logits[step], theirs[0].numpy(), atol=2e-6)
    summary = classifier.summarize(torch.tensor(part.values[position, : step + 1])[None])
    np.testing.assert_allclose(seen.summary, summary[0].detach().numpy(), atol=2e-6)


def test_long_sequences_are_shown_at_evenly_spaced_steps() -> None:
    part = waves(4, num_steps=500)
    seen = walk(classifier_for(part), part, 0, 20)
    assert seen.steps[0] == 0
    assert seen.steps[-1] == 499
    assert len(seen.values) == len(seen.logits) == 20


def test_answers_are_those_of_the_classifier_and_a_large_part_is_sampled() -> None:
    small = waves(60)
    big = np.arange(40_000) % 60
    part = replace(
        small,
        values=small.values[big],
        lengths=small.lengths[big],
        labels=small.labels[big] if small.labels is not None else None,
        ids=big.astype(str),
    )
    classifier = classifier_for(small)
    answers = ask(classifier, Parts(small, small.part(0, 0), part))
    assert len(answers.positions) == MOST_SEQUENCES
    assert "10,000 of 40,000 test sequences" in answers.sampled
    assert answers.positions[-1] == len(part) - 1
    few = ask(classifier, Parts(small, small.part(0, 0), small))
    with torch.no_grad():
        theirs = probabilities(classifier(torch.tensor(small.values)))
    np.testing.assert_allclose(few.predicted, theirs.numpy(), atol=1e-6)


def some_answers() -> ClassAnswers:
    shares = np.array([[0.9, 0.1, 0], [0.2, 0.7, 0.1], [0.3, 0.35, 0.35], [0.05, 0.15, 0.8]])
    part = waves(4)
    labels = np.array([0, 1, 1, 0])
    return ClassAnswers("test", part, np.arange(4), labels, shares, 0.0, part.class_names)


def test_sequences_are_chosen_by_what_they_show() -> None:
    found = {choice.why: choice.position for choice in some_answers().choices()}
    # no sequence is labelled "still"; 2 is the closest call and right, 3 the surest mistake
    assert found == {
        "surest right": 0,
        "surest wrong": 3,
        "nearest to the boundary": 2,
        "one of “up”": 0,
        "one of “down”": 1,
    }


def test_scores_of_classes() -> None:
    up, down, still = class_scores(some_answers().confusion, ("up", "down", "still"))
    assert (up.precision, up.recall, up.count) == (1.0, 0.5, 2)
    assert (down.precision, down.recall) == (1.0, 1.0)
    assert (still.precision, still.recall, still.count) == (0.0, None, 0)


def test_calibration_error_is_the_mean_gap_weighted_by_bin() -> None:
    bins = reliability(np.array([0.95, 0.95, 1.0, 0.62]), np.array([True, False, True, False]))
    assert [(each.low, each.count) for each in bins] == [(0.6, 1), (0.9, 3)]
    assert calibration_error(bins) == pytest.approx(
        0.25 * 0.62 + 0.75 * abs(2 / 3 - (0.95 + 0.95 + 1) / 3)
    )


def test_no_share_is_rounded_to_certainty() -> None:
    shown = [percent(x).split()[:-1] for x in (0.0, 0.0001, 0.123, 0.9999, 1.0)]
    assert shown == [["0"], ["under", "0.1"], ["12.3"], ["over", "99.9"], ["100"]]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.4, 1.17), (0, 0.0003), (-3, 250)])
def test_ticks_are_few_and_cover_the_numbers(low: float, high: float) -> None:
    found = ticks(low, high)
    assert found[0] <= low < high <= found[-1]
    assert 3 <= len(found) <= 8


def test_learning_rate_is_drawn_where_it_moves() -> None:
    still = [Epoch(n, {"train_loss": 1 / n, "train_accuracy": 0.5}, "", 0.1) for n in (1, 2)]
    moving = [replace(epoch, learning_rate=0.1 / epoch.number) for epoch in still]
    assert [curve.chart.title for curve in curves(still, some_answers())] == ["Loss", "Accuracy"]
    assert curves(moving, some_answers())[-1].chart.title == "Learning rate"
    assert len(shown_epochs(still * 1000)) == 300


@pytest.fixture(scope="module")
def default_page(
    tmp_path_factory: pytest.TempPathFactory, run: Callable[..., str], last_checkpoint: Path
) -> Path:
    path = tmp_path_factory.mktemp("page") / "trace.html"
    assert f"{path}: " in run("trace", last_checkpoint, "-o", path)
    return path


def test_default_page_is_one_small_file_with_every_part(default_page: Path) -> None:
    page = default_page.read_text()
    assert len(page) < 300_000
    assert not re.search(r"\s(src|href)=\"?[^#\"]|url\(|@import", page)
    for heading in ("Pipeline", "Training", "One prediction", "Evaluation", "Three questions"):
        assert f">{heading}" in page
    for loss, accuracy in ORIGINAL:
        assert f">{loss:.2f}</td>" in page
        assert f">{accuracy:.2f}</td>" in page
    assert "1,104" in page


def test_page_shows_what_the_run_measured(
    default_page: Path, default_run: tuple[Path, str], last_checkpoint: Path
) -> None:
    with (default_run[0] / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    page = default_page.read_text().replace("\N{NO-BREAK SPACE}", " ")
    for row in rows[:-1]:
        assert f">{float(row['train_loss']):.4f}</td>" in page
    assert f"mean loss {float(rows[-1]['test_loss']):.4f}" in page
    assert f"{100 * float(rows[-1]['test_accuracy']):.1f} % right" in page
    found = load_run(last_checkpoint)
    assert [epoch.learning_rate for epoch in found.epochs] == [0.001] * 5
    assert len(embedded(default_page)["trace"]["sequences"]) == 6


def test_epochs_of_a_training_without_the_recorder_come_from_its_table(
    default_run: tuple[Path, str], last_checkpoint: Path, tmp_path: Path
) -> None:
    checkpoint = read_checkpoint(last_checkpoint)
    del checkpoint["callbacks"]
    copy = tmp_path / "checkpoints" / "last.ckpt"
    copy.parent.mkdir()
    torch.save(checkpoint, copy)
    assert load_run(copy).epochs == []
    (tmp_path / "metrics.csv").write_bytes((default_run[0] / "metrics.csv").read_bytes())
    ours, theirs = load_run(copy).epochs, load_run(last_checkpoint).epochs
    assert [epoch.metrics for epoch in ours] == [epoch.metrics for epoch in theirs]


def test_a_sequence_can_be_asked_for(
    run: Callable[..., str], last_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("trace", last_checkpoint, "--sequence", "17")
    assert embedded(Path("trace.html"))["trace"]["sequences"][0]["title"] == "Train sequence 17"
    assert main(["trace", str(last_checkpoint), "--sequence", "1000"]) == 2
    assert "waves: has no sequence '1000'" in capsys.readouterr().err


def test_data_that_do_not_fit_are_refused(
    last_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(
        "other.npz", x=np.zeros((9, 3, 2), np.float32), y=np.array(["up", "down", "still"] * 3)
    )
    assert main(["trace", str(last_checkpoint), "--data", "other.npz"]) == 2
    assert "2 features" in capsys.readouterr().err


@pytest.mark.parametrize("classes", [2, 3, 50])
@pytest.mark.parametrize("sizes", SHAPES.values(), ids=SHAPES)
def test_page_of_any_network(sizes: dict[str, Any], classes: int) -> None:
    part = ragged(classes, 100)
    classifier = classifier_for(part, **sizes).train()
    write_page("page.html", classifier, parts_of(part), name="c.ckpt")
    assert classifier.training
    assert isinstance(classifier.network, GRUNet)
    trace = embedded(Path("page.html"))["trace"]
    directions = 1 + classifier.network.gru.bidirectional
    assert len(trace["layers"]) == classifier.network.gru.num_layers * directions
    assert Path("page.html").stat().st_size < 1_500_000


def test_large_networks_are_cut_to_fit_the_page_and_it_says_so() -> None:
    part = waves(40, num_steps=300, num_features=150)
    write_page("page.html", classifier_for(part, hidden_size=200), parts_of(part))
    page = Path("page.html").read_text()
    assert len(page) < 1_500_000
    assert re.search(r"the first \d+ of 200 units, the first \d+ of 150 features", page)


def test_a_training_that_diverged_still_has_a_page() -> None:
    data = SequenceDataModule()
    classifier = GRUClassifier(**data.describe())
    torch.nn.init.constant_(classifier.network.get_submodule("head").weight, float("nan"))
    epoch = Epoch(1, {"train_loss": float("nan"), "train_accuracy": 0.3}, "first pass")
    write_page("page.html", classifier, data.parts, [epoch])
    assert "the training diverged" in Path("page.html").read_text()


def test_page_of_a_ported_model_has_its_layers_and_no_gates(run: Callable[..., str]) -> None:
    file = kb.saved(Path(), kb.legacy(*kb.small_model()))
    run("port", file, "-o", "ported.ckpt")
    part = ragged(2)
    values = np.nan_to_num(part.values[:, :7, :3])
    np.savez("data.npz", x=values, y=part.labels)
    run("trace", "ported.ckpt", "--data", "data.npz", "-o", "page.html")
    page = Path("page.html").read_text()
    assert ">A ported Keras model tells 0 and 1 apart<" in page
    assert "it was ported from a Keras file" in page
    assert ">gru<" in page
    assert "there are no gates to show" in page
    trace = embedded(Path("page.html"))["trace"]
    assert trace["layers"] == trace["sequences"][0]["layers"] == []


def test_model_that_cannot_read_a_beginning_is_asked_about_the_whole() -> None:
    part = waves(20)
    classifier = classifier_for(part)
    classifier.network = FourSteps()  # type: ignore[assignment]
    assert walk(classifier, part, 0, 99).logits.shape == (1, 3)


class FourSteps(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv1d(5, 3, 4)

    def forward(self, values: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
        return self.convolution(values.movedim(1, 2)).mean(dim=2)

    def answers(
        self, values: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, None]:
        return self(values, lengths), None


def test_names_from_the_data_are_text() -> None:
    part = replace(
        ragged(2),
        class_names=tuple(HOSTILE),
        feature_names=tuple(f"</script>{HOSTILE[0]}{n}" for n in range(4)),
        ids=np.array([f"{HOSTILE[0]}{n}" for n in range(24)]),
        source=HOSTILE[0],
    )
    write_page("page.html", classifier_for(part), parts_of(part), name=HOSTILE[1])
    page = Path("page.html").read_text()
    assert page.count("<script") == page.count("</script>") == 2
    assert "&lt;script&gt;alert(1)" in page
    assert embedded(Path("page.html"))["trace"]["names"] == HOSTILE


def test_checkpoints_from_before_learning_rates_were_recorded_are_read() -> None:
    assert Epoch(**{"number": 1, "metrics": {}, "observation": ""}).learning_rate is None


def test_page_of_the_default_checkpoint_needs_its_classifier_alone(last_checkpoint: Path) -> None:
    write_page("page.html", load_classifier(last_checkpoint), SequenceDataModule().parts)
    assert "Its training was not recorded" in Path("page.html").read_text()
