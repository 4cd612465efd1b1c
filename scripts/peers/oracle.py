"""What is right: the float64 reference, and how far from it float32 may end.

The reference, the comparison and the tolerance are the proof's: an answer in float32 may be eight
times as far from float64 as the NumPy reference moves when weights and inputs are nudged by one
unit in the last place, measured for this work (``parity.tolerances``).
"""

from dataclasses import dataclass

import numpy as np
from peers.peer_process import Skipped
from peers.work import CHECKED, Array, Work

from grulight.kernels import reference
from parity.compare import Incomparable, compare
from parity.question import Arrays, Network, Question, cast
from parity.tolerances import FLOAT32_FLOORS, noise_floor

SINGLE = float(np.finfo(np.float32).eps)
# cuDNN's GRU approximates its gates: in float32 on an H100 (cuDNN 9.19) its answer to this check
# was 10.2 floors off, and it erred up to 42 times as much as nn.GRU on a CPU in the kernels' tests.
# It is the peer all the same, and how far off it is gets said.
CUDNN_FLOORS = 50.0


@dataclass(frozen=True)
class Truth:
    """The right answers to a work's check.

    Attributes:
        exact: The float64 reference's probabilities and gradients.
        floors: Float32 noise of each.
    """

    exact: Arrays
    floors: dict[str, float]

    def checked(
        self, answer: Arrays, epsilon: float = SINGLE, at_most: float = FLOAT32_FLOORS
    ) -> float:
        """Return how many noise floors an answer is off at worst.

        Args:
            answer: Probabilities and, from those who can, gradients.
            epsilon: Of the type that the answer was computed in.
            at_most: Noise floors that it may be off.

        Raises:
            Skipped: It is too far off, or cannot be compared: it must not be timed.
        """
        ours = {name: array.astype(np.float64) for name, array in answer.items()}
        theirs = {name: self.exact[name] for name in answer if name in self.exact}
        try:
            found = compare(ours, theirs)
        except Incomparable as error:
            raise Skipped(f"refused: {error}") from error
        off, worst = max(
            (each.relative / (self.floors[each.tensor] * epsilon / SINGLE), str(each))
            for each in found
        )
        if off <= at_most:
            return off
        raise Skipped(f"refused: {off:.0f} noise floors off, at most {at_most:.0f}: {worst}")


def truth_of(work: Work) -> Truth:
    """Compute the right answers for the first sequences of a work."""
    x, y = work.x[:CHECKED], work.y[:CHECKED]
    network = Network(x.shape[2], work.classes, work.hidden)
    question = Question("benchmark", "network", network, work.weights, {"values": x, "labels": y})
    single = question.as_dtype("float32")
    floors = noise_floor(_answer, single, _answer(single))
    return Truth(_answer(question.as_dtype("float64")), floors)


def _answer(question: Question) -> Arrays:
    """Return the reference's probabilities, and gradients of the mean cross entropy."""
    inputs = cast(question.inputs, question.dtype)
    out = reference.network_forward(question.weights, inputs["values"])
    _, d_logits = reference.cross_entropy(out.logits_BC, inputs["labels"])
    grads = reference.network_backward(question.weights, out, d_logits)
    found: dict[str, Array] = {"probabilities": reference.probabilities(out.logits_BC)}
    return found | {name: grads[name] for name in question.weights}
