"""For users' own tests: assert that a torch module and a Keras model are the same function."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parity.cases import Arrays, Network, Precision, Question
from parity.rungs import judge
from parity.tolerances import FLOAT32_FLOORS, Side, noise_floor

Inputs = NDArray[Any] | Sequence[NDArray[Any]]
NOT_A_GRUNET = Network(0, 0)


def assert_equivalent(ours: Callable[..., Any], theirs: Any, inputs: Inputs) -> None:
    """Assert that ours and theirs map the inputs to the same outputs.

    Both run as they are, in inference. Float64 outputs must agree to 1e-12; float32 outputs to a
    few times the noise of either side, which is measured here by nudging inputs and, where
    something has weights, weights by one unit in the last place (see ``parity.tolerances``).

    Args:
        ours: A torch module, or anything that maps arrays or tensors to one.
        theirs: A Keras model, or anything likewise.
        inputs: One array, or several as a sequence; all are passed by position.

    Raises:
        AssertionError: They differ; the message says by how much, where and against what bound.
        Incomparable: The outputs differ in dtype or shape.

    Example:
        >>> assert_equivalent(torch_model, keras_model, np.random.randn(8, 10, 5).astype("f4"))
    """
    arrays = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
    named = {f"input {number}": array for number, array in enumerate(arrays)}
    answers, floors = [], []
    for model in (ours, theirs):
        side, weights = _side(model)
        question = Question("inputs", "network", NOT_A_GRUNET, weights, named)
        answers.append(side(question))
        dtype = _dtype(answers[-1])
        question = replace(question, dtype=dtype)
        floors.append(noise_floor(side, question, answers[-1]) if dtype == "float32" else {})
    both = (floors[0], floors[1]) if any(floors) else None
    findings = judge(question, answers[0], answers[1], both)
    wrong = [
        f"{each.difference}; allowed {each.bound:.1e}"
        + (f", {FLOAT32_FLOORS:.0f} noise floors of {each.floor:.1e}" if each.floor else "")
        for each in findings
        if not each.same
    ]
    if wrong:
        raise AssertionError("ours and theirs are not the same function:\n" + "\n".join(wrong))


def _side(model: Any) -> tuple[Side, Arrays]:
    """Return a function of (weights, inputs) and the weights that the model has."""
    if hasattr(model, "state_dict"):
        return _torch_side(model)
    if hasattr(model, "get_weights"):
        return _keras_side(model)
    return (lambda question: _outputs(model(*question.inputs.values()))), {}


def _torch_side(module: Any) -> tuple[Side, Arrays]:
    import torch

    module = copy.deepcopy(module).eval()
    parameters = dict(module.named_parameters())
    device = next((p.device for p in parameters.values()), torch.device("cpu"))

    def side(question: Question) -> Arrays:
        weights = {n: torch.tensor(w, device=device) for n, w in question.weights.items()}
        tensors = [torch.tensor(array, device=device) for array in question.inputs.values()]
        with torch.no_grad():
            return _outputs(torch.func.functional_call(module, weights, tuple(tensors)))

    return side, {name: p.detach().cpu().numpy() for name, p in parameters.items()}


def _keras_side(model: Any) -> tuple[Side, Arrays]:
    kept = model.get_weights()

    def side(question: Question) -> Arrays:
        inputs = list(question.inputs.values())
        model.set_weights(list(question.weights.values()))
        try:
            return _outputs(model(inputs[0] if len(inputs) == 1 else inputs, training=False))
        finally:
            model.set_weights(kept)

    return side, {str(number): array for number, array in enumerate(kept)}


def _outputs(output: Any) -> Arrays:
    """Name one output or several as arrays."""
    if isinstance(output, Mapping):
        return {f"output.{name}": _array(each) for name, each in output.items()}
    several = output if isinstance(output, tuple | list) else [output]
    return {f"output.{number}": _array(each) for number, each in enumerate(several)}


def _array(tensor: Any) -> NDArray[Any]:
    detached = tensor.detach().cpu() if hasattr(tensor, "detach") else tensor
    return np.asarray(detached)


def _dtype(answer: Arrays) -> Precision:
    return "float64" if all(array.dtype == np.float64 for array in answer.values()) else "float32"
