import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from test_batches import sequences
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune

from grulight.data.batches import Batch, Batches
from grulight.errors import InputError
from grulight.heads import ClassHead, Score
from grulight.logits import classification_loss, predicted_classes, probabilities
from grulight.model import GRUNet
from grulight.training.classifier import GRUClassifier
from grulight.training.epoch_means import EpochMeans


def trainer() -> Trainer:
    return Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def test_one_logit_is_two_classes() -> None:
    logit = torch.randn(6, 1, dtype=torch.float64)
    labels = torch.tensor([0, 1, 1, 0, 1, 0])
    pair = torch.cat((torch.zeros_like(logit), logit), dim=-1)
    torch.testing.assert_close(probabilities(logit), probabilities(pair))
    torch.testing.assert_close(classification_loss(logit, labels), F.cross_entropy(pair, labels))
    assert torch.equal(predicted_classes(logit), predicted_classes(pair))


def test_predicted_classes_are_named_in_the_order_of_the_answers() -> None:
    columns = ClassHead(3).columns(np.eye(3)[[2, 0]], ("up", "down", "flat"))
    assert columns["predicted"].tolist() == ["flat", "up"]
    assert [*columns] == ["predicted", "probability_up", "probability_down", "probability_flat"]


def test_a_prediction_ends_with_its_sequence() -> None:
    module, values = GRUClassifier(2, 3, 4).eval(), torch.randn(2, 5, 2)
    together = module.predict_step(Batch(values, torch.tensor([3, 5]), None))
    alone = module.predict_step(Batch(values[:1, :3], None, None))
    torch.testing.assert_close(together[:1], alone)


def test_epoch_means_weight_batches_by_their_size() -> None:
    means, module = EpochMeans(), GRUClassifier(2, 3)
    module.trainer = trainer()
    logits, labels = torch.randn(10, 3), torch.randint(0, 3, (10,))
    for part in (slice(0, 4), slice(4, 8), slice(8, 10)):
        score = ClassHead(3).score(logits[part], labels[part])
        means.update(score, len(labels[part]))
    found = means.compute(module)
    assert float(found["loss"]) == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-6)
    assert float(found["accuracy"]) == (logits.argmax(1) == labels).float().mean()


def test_epoch_means_count_past_what_float32_can() -> None:
    means, module = EpochMeans(), GRUClassifier(2, 3)
    module.trainer = trainer()
    means.sums = torch.tensor([0.0, *[2.0**24] * 3], dtype=torch.float64)
    means.update(Score(torch.tensor(0.0), torch.tensor(1), 1), 1)
    assert means.sums.tolist() == [0, *[2**24 + 1] * 3]


def test_standardisation_is_part_of_the_classifier() -> None:
    plain = GRUClassifier(2, 3)
    scaled = GRUClassifier(2, 3, mean=[1.0, -2.0], scale=[2.0, 0.5])
    scaled.network.load_state_dict(plain.network.state_dict())
    values = torch.randn(4, 5, 2)
    expected = plain((values - torch.tensor([1.0, -2.0])) / torch.tensor([2.0, 0.5]))
    torch.testing.assert_close(scaled(values), expected)


def test_init_is_as_keras_or_as_torch_draws_it() -> None:
    keras = GRUClassifier(5, 3).network
    assert (keras.gru.bias_ih_l0 == 0).all()
    assert (GRUClassifier(5, 3, init="torch").network.gru.bias_ih_l0 != 0).any()


@pytest.mark.filterwarnings("ignore:You defined a `validation_step`")
@pytest.mark.parametrize("classes", [2, 3])
def test_training_from_python_needs_no_data_module(classes: int) -> None:
    data = replace(
        sequences(40),
        values=np.random.default_rng(0).normal(size=(40, 4, 2)),
        labels=np.arange(40) % classes,
    )
    classifier = GRUClassifier(2, classes)
    before = classifier.network.head.weight.detach().clone()
    running = trainer()
    running.fit(classifier, Batches(data, 8))
    assert not torch.equal(classifier.network.head.weight, before)
    assert 0 <= float(running.callback_metrics["train_accuracy"]) <= 1


@pytest.mark.parametrize(
    "options",
    [{}, {"num_layers": 2, "bidirectional": True}, {"kernel": "torch"}],
    ids=["compiled", "stacked", "torch"],
)
@pytest.mark.parametrize("classes", [2, 3])
def test_predict_proba_takes_and_gives_arrays(classes: int, options: dict[str, object]) -> None:
    classifier = GRUClassifier(2, classes, mean=[1.0, 2.0], scale=[2.0, 3.0], **options)
    values = np.random.default_rng(0).normal(size=(5, 4, 2)).astype(np.float32)
    lengths = np.array([4, 1, 3, 4, 2])
    batch = Batch(torch.tensor(values), torch.tensor(lengths), None)
    expected = classifier.eval().predict_step(batch).detach().numpy()
    np.testing.assert_allclose(classifier.predict_proba(values, lengths), expected, atol=1e-6)
    with torch.no_grad():
        classifier.network.head.bias += 1.0 + torch.arange(len(classifier.network.head.bias))
    moved = classifier.predict_step(batch).detach().numpy()
    np.testing.assert_allclose(classifier.predict_proba(values, lengths), moved, atol=1e-6)
    np.testing.assert_allclose(classifier.double().predict_proba(values, lengths), moved, atol=1e-6)


def replace_one(classifier: GRUClassifier) -> None:
    gru = classifier.network.gru
    gru.weight_hh_l0 = torch.nn.Parameter(2 * gru.weight_hh_l0.detach())


def point_elsewhere(classifier: GRUClassifier) -> None:
    classifier.network.gru.bias_ih_l0.data = torch.full((48,), 0.3)


def write_behind_its_back(classifier: GRUClassifier) -> None:
    classifier.network.gru.weight_ih_l0.detach().numpy()[:] *= 3.0


def prune_head(classifier: GRUClassifier) -> None:
    prune.random_unstructured(classifier.network.head, "weight", amount=0.5)


def prune_gru(classifier: GRUClassifier) -> None:
    prune.random_unstructured(classifier.network.gru, "weight_hh_l0", amount=0.5)


def turn_in_memory(classifier: GRUClassifier) -> None:
    turned = torch.rand(16, 48).T
    classifier.network.gru.weight_hh_l0 = torch.nn.Parameter(turned)


def parametrise(classifier: GRUClassifier) -> None:
    parametrizations.spectral_norm(classifier.network.gru, "weight_ih_l0")


def another_head(classifier: GRUClassifier) -> None:
    classifier.network.head = torch.nn.Linear(16, 3)


def deeper_head(classifier: GRUClassifier) -> None:
    head = torch.nn.Linear(16, 3)
    classifier.network.head = torch.nn.Sequential(torch.nn.Dropout(0.2), head).eval()


def another_network(classifier: GRUClassifier) -> None:
    classifier.network = GRUNet(5, 3)


def another_mean(classifier: GRUClassifier) -> None:
    classifier.mean = torch.full((5,), 3.0)


@pytest.mark.parametrize(
    "change",
    [
        replace_one,
        point_elsewhere,
        write_behind_its_back,
        prune_head,
        prune_gru,
        turn_in_memory,
        parametrise,
        another_head,
        deeper_head,
        another_network,
        another_mean,
    ],
)
def test_predict_proba_follows_whatever_becomes_of_the_weights(
    change: Callable[[GRUClassifier], None],
) -> None:
    classifier = GRUClassifier(5, 3, mean=[0.0] * 5, scale=[1.0] * 5).eval()
    values = np.random.default_rng(0).normal(size=(4, 6, 5)).astype(np.float32)
    before = classifier.predict_proba(values)
    change(classifier)
    expected = classifier.predict_step(Batch(torch.tensor(values), None, None)).detach().numpy()
    assert np.abs(expected - before).max() > 1e-3
    np.testing.assert_allclose(classifier.predict_proba(values), expected, atol=1e-6)


def test_a_mean_alone_standardises_nothing_and_a_copy_predicts_for_itself() -> None:
    classifier = GRUClassifier(5, 3, mean=[9.0] * 5).eval()
    values = np.random.default_rng(0).normal(size=(4, 6, 5)).astype(np.float32)
    before = classifier.predict_proba(values)
    expected = classifier.predict_step(Batch(torch.tensor(values), None, None)).detach().numpy()
    np.testing.assert_allclose(before, expected, atol=1e-6)
    copied = copy.deepcopy(classifier)
    with torch.no_grad():
        copied.network.head.bias += torch.arange(3)
    assert np.abs(copied.predict_proba(values) - before).max() > 0.1
    np.testing.assert_array_equal(classifier.predict_proba(values), before)


def test_predict_proba_is_the_same_in_many_threads_while_weights_change() -> None:
    classifier = GRUClassifier(5, 3).eval()
    values = np.random.default_rng(0).normal(size=(2, 6, 5)).astype(np.float32)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(50):
            with torch.no_grad():
                classifier.network.gru.weight_hh_l0 *= 1.01
            answers = list(pool.map(classifier.predict_proba, [values] * 8))
            right = classifier.predict_step(Batch(torch.tensor(values), None, None))
            for answer in answers:
                np.testing.assert_allclose(answer, right.detach().numpy(), atol=1e-6)


def test_a_hooks_name_is_noted_past_torchs_look_for_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    classifier, looked = GRUClassifier(5, 3), []

    def look(module: torch.nn.Module, name: str, value: object) -> None:
        looked.append(name)
        vars(module)[name] = value

    monkeypatch.setattr(torch.nn.Module, "__setattr__", look)
    classifier._current_fx_name = "training_step"
    classifier.resumed_steps = 3
    assert looked == ["resumed_steps"]
    assert (classifier._current_fx_name, classifier.resumed_steps) == ("training_step", 3)


def test_an_initialisation_that_there_is_not_is_refused() -> None:
    with pytest.raises(InputError, match=r"^init='kears': expected one of .* Did you mean keras"):
        GRUClassifier(5, 3, init="kears")  # type: ignore[arg-type]
