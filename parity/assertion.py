"""For users' own tests: assert that a torch module and a Keras model are the same function."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parity.question import Arrays, Network, Precision, Question, Side
from parity.rungs import Finding, judge
from parity.tolerances import FLOAT32_FLOORS, noise_floor, unsteady

Inputs = NDArray[Any] | Sequence[NDArray[Any]]
NOT_A_GRUNET = Network(0, 0)


def assert_equivalent(ours: Callable[..., Any], theirs: Any, inputs: Inputs) -> None:
    """Assert that ours and theirs map the inputs to the same outputs.

    Both run as they are, in inference, twice: what has other bits the second time is not compared.
    Float64 outputs must agree to 1e-12; float32 outputs to a few times the noise of theirs, which
    is measured here by perturbing its inputs and, where it has weights, weights by one unit in the
    last place (see ``parity.tolerances``). So hand over a Keras model rather than a function around
    it.

    Args:
        ours: A torch module, or anything that maps arrays or tensors to one.
        theirs: A Keras model, or anything likewise.
        inputs: One array, or several as a sequence; all are passed by position.

    Raises:
        AssertionError: They differ, or one does not give the same bits twice; the message says by
            how much, where and against what bound.
        Incomparable: The outputs differ in dtype or shape, or theirs has no numbers to compare.

    Example:
        >>> assert_equivalent(torch_model, keras_model, np.random.randn(8, 10, 5).astype("f4"))
    """
    arrays = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
    named = {f"input {number}": array for number, array in enumerate(arrays)}
    our_side, weights = _side(ours)
    asked = Question("inputs", "network", NOT_A_GRUNET, weights, named)
    our_answer = _twice("ours", our_side, asked)
    their_side, weights = _side(theirs)
    question = replace(asked, weights=weights)
    answer = _twice("theirs", their_side, question)
    question = replace(question, dtype=_dtype(answer))
    single = question.dtype == "float32"
    floors = noise_floor(their_side, question, answer) if single else None
    wrong = [_said(each) for each in judge(question, our_answer, answer, floors) if not each.same]
    if wrong:
        raise AssertionError("ours and theirs are not the same function:\n" + "\n".join(wrong))


def _twice(name: str, side: Side, question: Question) -> Arrays:
    """Return an answer that comes out with the same bits when asked for again."""
    answer = side(question)
    if other := unsteady(answer, side(question)):
        raise AssertionError(
            f"{name} gives other bits of {', '.join(other)} the second time, so there is nothing "
            "to compare. Turn off what draws random numbers, such as dropout."
        )
    return answer


def _said(finding: Finding) -> str:
    text = f"{finding.difference}; allowed {finding.bound:.1e}"
    if finding.floor is None:
        return text
    return f"{text}, {FLOAT32_FLOORS:.0f} noise floors of {finding.floor:.1e} at most"


def _side(model: Any) -> tuple[Side, Arrays]:
    """Return a function of (weights, inputs) and the weights that the model has."""
    if hasattr(model, "state_dict"):
        return _torch_side(model)
    if hasattr(model, "get_weights"):
        return _keras_side(model)
    # copies: a function that changes its input would change what the other side is asked
    return (lambda question: _outputs(model(*(a.copy() for a in question.inputs.values())))), {}


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
    return np.asarray(detached).copy()  # a side may answer in the same memory each time


def _dtype(answer: Arrays) -> Precision:
    return "float64" if all(array.dtype == np.float64 for array in answer.values()) else "float32"
