"""What a question to both sides is made of: a task, a network's sizes, weights and inputs."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = dict[str, Array]
Task = Literal["weights", "network", "forward", "losses", "steps", "training"]
Precision = Literal["float64", "float32"]
Answer = Literal["classes", "labels", "values"]


@dataclass(frozen=True)
class Network:
    """The sizes of a GRUNet, as its constructor takes them; dropout is off in every proof.

    Its answers are classes, labels that hold or do not, or values; once or for each time step.
    """

    input_size: int
    num_outputs: int
    hidden_size: int = 16
    num_layers: int = 1
    bidirectional: bool = False
    bias: bool = True
    per_step: bool = False
    answer: Answer = "classes"

    @property
    def sizes(self) -> dict[str, Any]:
        """The arguments of GRUNet's constructor."""
        return {name: value for name, value in vars(self).items() if name != "answer"}

    @property
    def directions(self) -> tuple[str, ...]:
        """The directions of every layer, in torch's order."""
        return ("forward", "backward") if self.bidirectional else ("forward",)

    def layers(self) -> list[str]:
        """Name every layer and direction, in the order of ``nn.GRU``'s states."""
        return [f"l{n}.{way}" for n in range(self.num_layers) for way in self.directions]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the parameters of the ``state_dict`` with their shapes, in its order."""
        gates = 3 * self.hidden_size
        found: dict[str, tuple[int, ...]] = {}
        for layer in self.layers():
            number, _, way = layer.partition(".")
            suffix = f"{number}_reverse" if way == "backward" else number
            below = self.hidden_size * len(self.directions) if number != "l0" else self.input_size
            found[f"gru.weight_ih_{suffix}"] = (gates, below)
            found[f"gru.weight_hh_{suffix}"] = (gates, self.hidden_size)
            if self.bias:
                found[f"gru.bias_ih_{suffix}"] = found[f"gru.bias_hh_{suffix}"] = (gates,)
        summary = self.hidden_size * len(self.directions)
        return found | {
            "head.weight": (self.num_outputs, summary),
            "head.bias": (self.num_outputs,),
        }


@dataclass(frozen=True)
class Question:
    """One thing to compute, in full: any side that knows GRUNets can answer it.

    Attributes:
        name: Which case, as a sentence fragment.
        task: What to compute; the sides' modules say what each task answers.
        network: Sizes.
        weights: Parameters under the names of the ``state_dict``.
        inputs: What the task needs besides.
        settings: Plain values that the task needs besides.
        dtype: Precision to compute in.
    """

    name: str
    task: Task
    network: Network
    weights: Arrays
    inputs: Arrays
    settings: Mapping[str, Any] = field(default_factory=dict)
    dtype: Precision = "float64"

    @property
    def id(self) -> str:
        """Name and precision: unique within a check."""
        return f"{self.name}.{self.task}.{self.dtype}"

    def as_dtype(self, dtype: Precision) -> "Question":
        """Return the same question in another precision."""
        return replace(
            self,
            weights=cast(self.weights, dtype),
            inputs=cast(self.inputs, dtype),
            dtype=dtype,
        )


Side = Callable[[Question], Arrays]  # whatever answers questions


def cast(arrays: Mapping[str, Array], dtype: str) -> Arrays:
    """Convert the floating arrays, keep the integers."""
    return {
        name: array.astype(dtype) if array.dtype.kind == "f" else array
        for name, array in arrays.items()
    }


def gradients_of(question: Question) -> Iterator[Arrays]:
    """Yield the gradients of a "steps" question, one step after the other."""
    for cos, sin in zip(question.inputs["cos"], question.inputs["sin"], strict=True):
        yield {
            name: question.inputs[f"base.{name}"] * cos + question.inputs[f"side.{name}"] * sin
            for name in question.weights
        }


def batches_of(question: Question) -> Iterator[Question]:
    """Yield a "training" question batch by batch, in its order."""
    size = question.settings["batch_size"]
    data = {name: array for name, array in question.inputs.items() if name != "order"}
    for epoch in question.inputs["order"]:
        for start in range(0, len(epoch), size):
            chosen = epoch[start : start + size]
            yield replace(question, inputs={name: array[chosen] for name, array in data.items()})
