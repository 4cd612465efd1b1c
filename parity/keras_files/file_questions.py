"""What both sides are asked about a Keras file: its own weights, random ones, a short training."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from grulight.keras_files.layers.activations import activation_name
from grulight.keras_files.layers.network import trace
from grulight.keras_files.plan.spec import Graph, LayerSpec, Ref
from parity.cases import step_question
from parity.keras_files.inputs import Input, single
from parity.question import Arrays, Network, Question, Side

NOT_A_GRUNET = Network(0, 0)
ROWS, BATCHES, STEPS = 5, 4, 20
OPTIMISED = 4096  # numbers of each array in rung 4: an optimiser treats each number by itself
SNAPSHOT_NUMBERS = 1_000_000
OWN, RANDOM = "own_weights_random_inputs", "random_weights_random_inputs"
STATISTICS = "own_weights_as_in_training"
AS_IN_TRAINING = "random_weights_as_in_training"


class FileQuestions:
    """The questions about one model.

    Args:
        graph: The model.
        weights: Its own, in Keras' layout, by layer and name.
        inputs: What it takes.
        trained: The names of those weights that a training moves.
    """

    def __init__(
        self, graph: Graph, weights: Arrays, inputs: tuple[Input, ...], trained: tuple[str, ...]
    ) -> None:
        self.graph, self.weights, self.inputs = graph, weights, inputs
        self.heads = heads_of(graph)
        # what computes otherwise in training, but draws nothing
        self.moves = any(name.endswith("/moving_mean") for name in weights)
        seen = trace(graph, tuple(each.shape for each in inputs))
        self.shapes = [seen[ref][1:] for ref in graph.outputs]
        self.settings: dict[str, Any] = {
            "inputs": {each.name: each.masked_by for each in inputs},
            "outputs": tuple(self.heads),
            "heads": self.heads,
            "trained": trained,
            "as_in_training": False,
            "still": (),
        }

    def weights_question(self) -> Question:
        """Ask for the weights as they were read, and for random ones after they were loaded."""
        random = random_weights(self.weights, 0)
        return Question("own_weights", "weights", NOT_A_GRUNET, random, {}, self.settings)

    def own(self) -> Question:
        """Ask for outputs, errors and gradients with the file's weights.

        Cross entropy waits for random weights: of a saturated output, log(1 - p) magnifies
        rounding without bound.
        """
        losses = dict.fromkeys(self.heads, "squared error")
        weights = {name: array.astype(np.float64) for name, array in self.weights.items()}
        return self._network(OWN, weights, 1, losses)

    def random(self, side: Side) -> Question:
        """Ask for outputs, losses and gradients with random weights that catch every wrong port.

        The first draw is taken in which every weight has a gradient: a lone ReLU may be dead.
        """
        for seed in range(8):
            weights = random_weights(self.weights, seed)
            question = self._network(RANDOM, weights, 10 + seed, self.heads)
            answer = side(question)
            grads = [np.abs(a).max() for n, a in answer.items() if n.startswith("grad.")]
            if min(grads, default=0.0) > 1e-9:
                break
        return question

    def steps(self, start: Arrays) -> Question:
        """Ask for Adam's steps along given gradients."""
        few = {n: start[n].reshape(-1)[:OPTIMISED] for n in self.settings["trained"]}
        numbers = sum(array.size for array in few.values())
        return step_question(NOT_A_GRUNET, few, "adam", 1 if numbers < 20_000 else 50)

    def as_in_training(self, question: Question) -> Question:
        """Ask a question of the model as in training, where batches normalise themselves."""
        settings = {**question.settings, "as_in_training": True}
        return replace(question, name=AS_IN_TRAINING, settings=settings)

    def training(self, start: Arrays, still: Collection[str] = ()) -> Question:
        """Ask for a training of 20 steps of Adam; only what draws random numbers is off.

        Args:
            start: Weights to start from.
            still: Those that are not trained.
        """
        numbers = sum(array.size for array in start.values())
        question = self._network("twenty_steps_of_adam", start, 30, self.heads, ROWS * BATCHES)
        settings = {
            **question.settings,
            "rows": ROWS,
            "steps": STEPS,
            "every": 1 if STEPS * numbers <= SNAPSHOT_NUMBERS else STEPS,
            "still": tuple(sorted(still)),
            "as_in_training": self.moves,
        }
        return replace(question, task="training", settings=settings)

    def statistics(self) -> Question:
        """Ask where one epoch takes the file's moving statistics while nothing is trained."""
        weights = {name: array.astype(np.float64) for name, array in self.weights.items()}
        question = self.training(weights, self.settings["trained"])
        settings = {**question.settings, "steps": BATCHES, "every": BATCHES}
        return replace(question, name=STATISTICS, settings=settings)

    def _network(
        self, name: str, weights: Arrays, seed: int, heads: Mapping[str, str], rows: int = ROWS
    ) -> Question:
        rng = np.random.default_rng(seed)
        inputs: Arrays = {}
        for turn, each in enumerate(self.inputs):
            inputs |= each.draw(rows, rng, turn)
        for output, shape in zip(self.heads, self.shapes, strict=True):
            whole = (rows, *(size or 1 for size in shape))
            inputs[f"pull.{output}"] = single(rng.normal(size=whole))
            inputs[f"target.{output}"] = target(whole, heads[output], rng)
        settings = {**self.settings, "losses": dict(heads)}
        return Question(name, "network", NOT_A_GRUNET, weights, inputs, settings)


def target(shape: tuple[int, ...], kind: str, rng: np.random.Generator) -> np.ndarray:
    """Draw what an output should be: one class of several, yes or no, or any number."""
    if kind == "categorical":
        return np.eye(shape[-1])[rng.integers(0, shape[-1], shape[:-1])]
    if kind == "binary":
        return rng.integers(0, 2, shape).astype(np.float64)
    return single(rng.normal(size=shape))


def random_weights(like: Arrays, seed: int) -> Arrays:
    """Draw every weight and bias; matrices from ±1/sqrt(rows), variances positive."""
    rng = np.random.default_rng([seed, 1])
    drawn: Arrays = {}
    for name, array in like.items():
        reach = 0.5 if array.ndim < 2 or name.endswith("bias") else len(array) ** -0.5
        if name.endswith("/embeddings"):
            reach = 1.0
        values = rng.uniform(-reach, reach, array.shape)
        if name.endswith(("/moving_variance", "/gamma", "/variance")):
            values += 1.0
        drawn[name] = single(values)
    return drawn


def heads_of(graph: Graph) -> dict[str, str]:
    """Return for each output, by name, the loss that suits it."""
    heads: dict[str, str] = {}
    for number, ref in enumerate(graph.outputs):
        name = ref.layer if ref.layer not in heads else f"{ref.layer} {number}"
        heads[name] = _head(graph, ref)
    return heads


def _head(graph: Graph, ref: Ref) -> str:
    spec = graph.layers.get(ref.layer)
    if spec is not None and spec.kind == "TimeDistributed":
        spec = spec.inner["layer"]
    if spec is not None and spec.graph is not None:
        return _head(spec.graph, spec.graph.outputs[ref.tensor])
    name = None if spec is None else _last_activation(spec)
    return {"softmax": "categorical", "sigmoid": "binary"}.get(name or "", "squared error")


def _last_activation(spec: LayerSpec) -> str | None:
    if spec.kind in ("Dense", "Activation", "Conv1D"):
        return activation_name(spec, "activation")
    whole = spec.kind == "Softmax" and spec.integers("axis", -1) == (-1,)
    return "softmax" if whole else None


def batches(question: Question) -> Iterator[Question]:
    """Yield as many batches as steps, each a part of the question's rows."""
    rows, steps = question.settings["rows"], question.settings["steps"]
    count = len(next(iter(question.inputs.values()))) // rows
    for step in range(steps):
        part = slice(step % count * rows, (step % count + 1) * rows)
        inputs = {name: array[part] for name, array in question.inputs.items()}
        yield Question(question.name, "network", question.network, {}, inputs, question.settings)
