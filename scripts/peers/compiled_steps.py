"""The arithmetic alone: the compiled steps of grulight's epochs, with nothing around them."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from grulight_fit import classifier_of, gradients
from peer_server import Peer, boundary, serve
from work import Work

from grulight.kernels.rules import Adam
from grulight.kernels.steps import State, Task, train_steps
from grulight.model import GRUNet
from grulight.training.compiled_network import weights_of
from grulight.training.dropout_noise import sizes_of


def build(work: Work, arguments: Sequence[str]) -> Peer:
    """Take the steps of a GRU of so many layers and directions (``name=value``)."""
    options = dict(each.split("=") for each in arguments)
    layers, both = int(options.get("layers", 1)), options.get("directions") == "2"
    network = GRUNet(
        work.x.shape[2], work.classes, work.hidden, num_layers=layers, bidirectional=both
    )

    def train() -> None:
        flat = np.concatenate([each.detach().numpy().ravel() for each in weights_of(network)])
        state, draw, step = State(flat, *np.zeros((2, flat.size), flat.dtype)), np.random, 0
        while True:
            boundary()
            order = draw.permutation(len(work.x))
            batches = [order[at : at + work.batch] for at in range(0, len(order), work.batch)]
            data = work.x, None, work.y
            train_steps(state, step, Adam(), sizes_of(network), data, batches, Task())
            step += len(batches)

    return Peer(
        f"numpy {np.__version__}", gradients=partial(gradients, classifier_of(work)), train=train
    )


if __name__ == "__main__":
    serve(build)
