"""A training as the file was compiled, and steps of its optimiser: what is asked of both sides."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from grulight.errors import InputError
from grulight.heads import ClassHead, LabelHead
from grulight.keras_files.compiled_words import taken_over
from grulight.keras_files.ported_model import PortedModel
from grulight.keras_files.ported_network import PortedNetwork
from grulight.keras_files.reader.untrusted_text import Json
from grulight.keras_files.reader.versions import KerasVersion
from parity.cases import STEPS, step_question
from parity.keras_files.file_questions import NOT_A_GRUNET, FileQuestions
from parity.keras_files.inputs import single
from parity.question import Array, Arrays, Question

NAME, STEPS_NAME = "twenty_steps_as_compiled", "steps_of_the_files_optimizer"
MANY = 20_000  # numbers of which not every step is kept
STATED = ("optimizer", "optimizer_config", "loss")


@dataclass(frozen=True)
class Compiled:
    """What a file was compiled with, where `fit` trains with it.

    Attributes:
        raw: As the file has it, for Keras' side, which reads it by itself.
        words: In words, for a note.
        labels: What `fit` takes as labels: `classes`, `labels` or `values`.
        before_2_4: Whether a Keras outside TensorFlow wrote it: its clipnorm was of all variables.
        activities: Names of the layers whose activities `fit` regularises.
        schedule: The learning rate of each step in our training; None for one that stays.
    """

    raw: Mapping[str, Json]
    words: str
    labels: str
    before_2_4: bool
    activities: tuple[str, ...] = ()
    schedule: Callable[[int], float] | None = None


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
    raw = {k: stated[k] for k in STATED if k in stated}
    activities = tuple(layer.keras_name for layer, *_ in network.activities)
    schedule = network.optimizer(network.parameters()).schedule
    return Compiled(raw, words, labels, before_2_4, activities, schedule)


def steps_as_compiled(questions: FileQuestions, start: Arrays, compiled: Compiled) -> Question:
    """Ask for the steps of the file's own optimiser along given gradients."""
    trained = {name: start[name] for name in questions.settings["trained"]}
    few = sum(array.size for array in trained.values()) < MANY
    question = step_question(NOT_A_GRUNET, trained, "adam", 1 if few else STEPS)
    settings = {**question.settings, **_of_optimizer(compiled, STEPS)}
    settings["trained"] = (*trained,)
    still = {
        f"{part}.{n}": np.zeros_like(start[n])
        for n in start.keys() - trained.keys()
        for part in ("base", "side")
    }
    inputs = {**question.inputs, **still}
    return replace(question, name=STEPS_NAME, weights=start, inputs=inputs, settings=settings)


def _of_optimizer(compiled: Compiled, steps: int) -> dict[str, Any]:
    """Return what both sides need to make the file's optimiser; the rates are ours for both."""
    schedule = compiled.schedule
    rates = None if schedule is None else [schedule(step) for step in range(steps)]
    return {"compiled": compiled.raw, "before_2_4": compiled.before_2_4, "rates": rates}


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
    settings = {**question.settings, **_of_optimizer(compiled, question.settings["steps"])}
    settings |= {"labels": compiled.labels, "activities": compiled.activities}
    inputs = {**question.inputs, "label": label}
    return replace(question, name=NAME, inputs=inputs, settings=settings)


def stepped(snapshots: list[Arrays]) -> Arrays:
    """Return the answer of rung 4: every array after each step."""
    return {f"step.{name}": np.stack([each[name] for each in snapshots]) for name in snapshots[0]}


def rates_of(question: Question, rates: list[float]) -> Arrays:
    """Return the learning rate of each step as an answer, where it changes."""
    return {} if question.settings["rates"] is None else {"rate.compiled": np.array(rates)}


def trained(losses: list[float], snapshots: list[Arrays]) -> Arrays:
    """Return the answer: the first loss for rung 2, every loss and every array for rung 5."""
    found = {"loss.compiled": np.asarray(losses[0]), "train.loss": np.array(losses)}
    return found | {
        f"train.{name}": np.stack([each[name] for each in snapshots]) for name in snapshots[0]
    }
