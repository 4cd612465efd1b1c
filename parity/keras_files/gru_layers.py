"""The GRUs of a model, found by the names and the shapes of its arrays."""

from parity.question import Array, Arrays, Question

Layer = dict[str, Array]  # kernel, recurrent_kernel and maybe bias of one GRU in one direction


def gru_layers(weights: Arrays) -> dict[str, Layer]:
    """Return the arrays of every GRU by its path."""
    paths = [
        name.removesuffix("/recurrent_kernel")
        for name, array in weights.items()
        if name.endswith("recurrent_kernel") and array.shape == (len(array), 3 * len(array))
    ]
    return {
        path: {
            part: weights[f"{path}/{part}"]
            for part in ("kernel", "recurrent_kernel", "bias")
            if f"{path}/{part}" in weights
        }
        for path in paths
    }


def single_step_layers(question: Question, answer: Arrays) -> list[str]:
    """Return the GRUs whose state is zero whenever they use it, as those that read one step."""
    gradients = {
        path: answer[f"grad.{path}/recurrent_kernel"] for path in gru_layers(question.weights)
    }
    return [path for path, gradient in gradients.items() if not gradient.any()]


def other_direction(path: str) -> str:
    """Return the path of the backward layer beside a forward one, else nothing."""
    return path.replace("forward_layer", "backward_layer") if "forward_layer" in path else ""


def same_sizes(layer: Layer, other: Layer | None) -> bool:
    """Return whether two GRUs could be taken for each other."""
    return other is not None and {n: a.shape for n, a in layer.items()} == {
        n: a.shape for n, a in other.items()
    }
