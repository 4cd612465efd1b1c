"""What both sides are asked: named cases that catch every wrong port we know of.

A fresh layer has zero biases and a zero state, and those are the blind cases: there, swapped bias
rows and a wrongly applied reset gate change nothing. So random cases have random weights, random
non-zero biases, a random initial state, lengths of 1 and of T, and odd sizes.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from parity.question import Array, Arrays, Network, Question

RAGGED = "random_weights_ragged_odd_batch"  # name of the case that shows the most wrong ports
STEPS = 50
STEEP = 32.0  # deviation of what gates are given: tanh is 1 in float32 from 9 on, sigmoid from 17
# The learning rates are numbers that float32 holds exactly, so that neither side rounds them.
OPTIMIZERS: dict[str, dict[str, float]] = {
    "sgd": {"lr": 2**-5},
    "momentum": {"lr": 2**-6, "momentum": 0.9},
    "adam": {"lr": 1e-3},
    "rmsprop": {"lr": 1e-3},
    "adamw": {"lr": 1e-3, "weight_decay": 0.04},
}


@dataclass(frozen=True)
class Case:
    """A random network with random inputs; the same seed gives the same numbers."""

    name: str
    network: Network
    batch: int = 7
    time: int = 11
    ragged: bool = True
    h0: bool = True
    seed: int = 0

    def weights(self) -> Arrays:
        """Draw every parameter, biases too, from ±1/sqrt(hidden) as torch does."""
        rng = np.random.default_rng([self.seed, 1])
        reach = self.network.hidden_size**-0.5
        return {
            name: _single(rng.uniform(-reach, reach, shape))
            for name, shape in self.network.shapes().items()
        }

    def inputs(self) -> Arrays:
        """Draw padded sequences, lengths, initial state, labels and cotangents."""
        rng = np.random.default_rng([self.seed, 2])
        answered = (self.batch, self.time) if self.network.per_step else (self.batch,)
        found = {
            "values": _single(rng.normal(size=(self.batch, self.time, self.network.input_size))),
            "labels": random_labels(self.network, answered, rng),
        }
        if self.ragged:
            lengths = rng.integers(1, self.time + 1, self.batch)
            lengths[0] = self.time
            lengths[-1] = 1
            found["lengths"] = lengths
        if self.h0:
            states = (len(self.network.layers()), self.batch, self.network.hidden_size)
            found["h0"] = _single(rng.normal(size=states))
        return found | cotangents(self.network, found["values"], rng)

    def question(self) -> Question:
        """Return what both sides are asked for rungs 1 to 3."""
        return Question(self.name, "network", self.network, self.weights(), self.inputs())


def saturating_question(network: Network) -> Question:
    """Ask about inputs that take gates from their middle to where float32 has 0 and 1 only.

    Forward alone: slopes there are made of 1 - z, of which a z near one leaves no digits.
    """
    question = Case("random_weights_saturating_inputs", network, seed=2).question()
    # a power of two keeps the numbers exact, and sums have this deviation at any size
    spread = STEEP * math.sqrt(3 * network.hidden_size / network.input_size)
    values = question.inputs["values"] * 2.0 ** round(math.log2(spread))
    return replace(question, task="forward", inputs=question.inputs | {"values": values})


def random_labels(network: Network, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Draw what a network should answer: classes, or labels or values of one more axis."""
    if network.answer == "classes":
        return rng.integers(0, max(2, network.num_outputs), shape)
    shape = (*shape, network.num_outputs)
    if network.answer == "labels":
        return rng.integers(0, 2, shape).astype(np.float64)
    return _single(rng.normal(size=shape))


def cotangents(network: Network, values: Array, rng: np.random.Generator) -> Arrays:
    """Draw the random derivatives that gradients flow back from: of logits and hidden states."""
    batch, time, _ = values.shape
    answered = (batch, time) if network.per_step else (batch,)
    pulls = {"pull.logits": _single(rng.normal(size=(*answered, network.num_outputs)))}
    for layer in network.layers():
        shape = (batch, time, network.hidden_size)
        pulls[f"pull.hidden.{layer}"] = _single(rng.normal(size=shape))
    return pulls


def loss_question(network: Network, seed: int = 3, batch: int = 33) -> Question:
    """Ask for the losses of given logits or values, mild ones and ones that Keras clips."""
    rng = np.random.default_rng(seed)
    shape = (batch, network.num_outputs)
    # nothing between: log(1 - p) of a probability near 1 magnifies the rounding of p without bound
    mild, saturated = rng.uniform(-5, 5, shape), rng.uniform(20, 60, shape)
    every_other = np.arange(batch)[:, None] % 2 == 0
    logits = _single(np.where(every_other, mild, saturated * rng.choice([-1, 1], shape)))
    labels = random_labels(network, (batch,), rng)
    return Question(
        "mild_and_saturated_logits", "losses", network, {}, {"logits": logits, "labels": labels}
    )


def step_question(network: Network, weights: Arrays, optimizer: str, every: int = 1) -> Question:
    """Ask an optimiser for its weights after each of 50 steps along given gradients.

    The gradients turn, base·cos + side·sin, so that a few arrays describe them all; their elements
    reach from 1e-6, where epsilons decide, to 1.
    """
    rng = np.random.default_rng(4)
    angle = np.linspace(0.0, 7.0, STEPS)
    inputs = {"cos": _single(np.cos(angle)), "sin": _single(np.sin(angle))}
    for name, array in weights.items():
        for part in ("base", "side"):
            size = 10.0 ** rng.uniform(-6, 0, array.shape)
            inputs[f"{part}.{name}"] = _single(size * rng.choice([-1.0, 1.0], array.shape))
    settings = {"optimizer": optimizer, "every": every, **OPTIMIZERS[optimizer]}
    return Question(optimizer, "steps", network, weights, inputs, settings)


def training_question(
    name: str,
    network: Network,
    weights: Arrays,
    data: Arrays,
    epochs: int = 5,
    batch_size: int = 32,
    every: int = 1,
) -> Question:
    """Ask for a whole training: the loss of every batch, the weights every few batches.

    Args:
        name: What the data are.
        network: Sizes.
        weights: Where training starts.
        data: ``values``, ``labels`` and, where sequences differ in length, ``lengths``.
        epochs: Passes over the data, each in an order of its own.
        batch_size: Sequences per batch; the last batch is smaller.
        every: Batches from one snapshot of the weights to the next.
    """
    rng = np.random.default_rng(5)
    order = np.stack([rng.permutation(len(data["values"])) for _ in range(epochs)])
    settings = {"optimizer": "adam", "lr": 1e-3, "batch_size": batch_size, "every": every}
    return Question(name, "training", network, weights, data | {"order": order}, settings)


def _single(array: Array) -> Array:
    """Round to float32 and widen again: both precisions then start from the same numbers."""
    return array.astype(np.float32).astype(np.float64)
