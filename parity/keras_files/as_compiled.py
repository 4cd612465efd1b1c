"""A training as the file was compiled: what is asked, and our side, which is that of `fit`."""

import copy
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from grulight.errors import InputError
from grulight.heads import ClassHead, LabelHead
from grulight.keras_files.compiled_words import taken_over
from grulight.keras_files.layers.normalization import BatchNormalization
from grulight.keras_files.ported_model import PortedModel
from grulight.keras_files.ported_network import PortedNetwork
from grulight.keras_files.reader.untrusted_text import Json
from grulight.keras_files.reader.versions import KerasVersion
from parity.keras_files.file_questions import FileQuestions, batches
from parity.keras_files.inputs import fed, single
from parity.question import Array, Arrays, Question

NAME = "twenty_steps_as_compiled"
STATED = ("optimizer", "optimizer_config", "loss")


@dataclass(frozen=True)
class Compiled:
    """What a file was compiled with, where `fit` trains with it.

    Attributes:
        raw: As the file has it, for Keras' side, which reads it by itself.
        words: In words, for a note.
        labels: What `fit` takes as labels: `classes`, `labels` or `values`.
        before_2_4: Whether a Keras outside TensorFlow wrote it: its clipnorm was of all variables.
    """

    raw: Mapping[str, Json]
    words: str
    labels: str
    before_2_4: bool


def compiled_of(model: PortedModel, raw: Json) -> Compiled | None:
    """Return what `fit` trains with; None where that is what every file is asked, or it cannot.

    Args:
        model: The port.
        raw: What the file says of `compile`, if anything.
    """
    words, stated = taken_over(model), raw if isinstance(raw, dict) else {}
    named = any(stated.get(key) for key in STATED[:2])
    held = model.description.get("compiled")  # none where it is Adam as ever
    known = not held or held.get("optimizer") is not None
    if words is None or (named and not known):
        return None
    try:
        network = PortedNetwork(model)
        network.require_trainable()
    except InputError:
        return None
    labels = {ClassHead: "classes", LabelHead: "labels"}.get(type(network.head), "values")
    version = KerasVersion.parse(str(model.description["keras_version"]), "3")
    before_2_4 = not version.tensorflow and version.major < 3
    return Compiled({k: stated[k] for k in STATED if k in stated}, words, labels, before_2_4)


def as_compiled(
    questions: FileQuestions, start: Arrays, compiled: Compiled, still: Collection[str] = ()
) -> Question:
    """Ask for twenty steps of training as the file was compiled, without the weights ``still``."""
    question = questions.training(start, still)
    [output] = questions.heads
    like = question.inputs[f"target.{output}"]
    rng = np.random.default_rng(31)
    label: Array = single(rng.normal(size=like.shape))
    if compiled.labels == "classes":
        label = rng.integers(0, max(2, like.shape[-1]), like.shape[:-1])
    elif compiled.labels == "labels":
        label = rng.integers(0, 2, like.shape).astype(np.float64)
    settings = {**question.settings, "compiled": compiled.raw, "labels": compiled.labels}
    settings["before_2_4"] = compiled.before_2_4
    inputs = {**question.inputs, "label": label}
    return replace(question, name=NAME, inputs=inputs, settings=settings)


def our_training(
    model: PortedModel,
    state: Mapping[str, Tensor],
    marks: Mapping[str, Tensor],
    question: Question,
    in_keras_layout: Callable[[Iterable[Tensor]], Arrays],
) -> Arrays:
    """Train as `fit` does: its loss, the file's penalties and optimiser.

    Args:
        model: The port in the question's precision.
        state: Where to start from.
        marks: Zero for every number of the state that is held still.
        question: See `as_compiled`.
        in_keras_layout: Names a state's numbers as Keras does.
    """
    network = PortedNetwork(copy.deepcopy(model))
    network.model.load_state_dict(state)
    for layer in network.eval().modules():
        if isinstance(layer, BatchNormalization):
            layer.train(question.settings["as_in_training"])
    moving = [p for name, p in network.model.named_parameters() if marks[name].any()]
    optimizer = network.optimizer(moving)
    losses: list[float] = []
    snapshots: list[Arrays] = []
    for number, batch in enumerate(batches(question), start=1):
        loss = _loss(network, batch)
        network.zero_grad()
        torch.autograd.backward(loss, inputs=[each for each in moving if each.requires_grad])
        optimizer.step()
        losses.append(loss.item())
        if number % question.settings["every"] == 0:
            snapshots.append(in_keras_layout(network.model.state_dict().values()))
    return trained(losses, snapshots)


def _loss(network: PortedNetwork, batch: Question) -> Tensor:
    [values] = fed(batch).values()
    x = torch.from_numpy(values[..., None] if network.flat else values)
    answers, valid = network.answers(x)
    score = network.head.score(answers, torch.from_numpy(batch.inputs["label"]), valid)
    penalty = network.penalty
    return score.loss if penalty is None else score.loss + penalty


def trained(losses: list[float], snapshots: list[Arrays]) -> Arrays:
    """Return the answer: the first loss for rung 2, every loss and every array for rung 5."""
    found = {"loss.compiled": np.asarray(losses[0]), "train.loss": np.array(losses)}
    return found | {
        f"train.{name}": np.stack([each[name] for each in snapshots]) for name in snapshots[0]
    }
