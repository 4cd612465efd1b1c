"""Our training as a file was compiled, by the means of `fit`, and the steps of its optimiser."""

import copy
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from grulight.keras_files.layers.normalization import BatchNormalization
from grulight.keras_files.ported_model import PortedModel
from grulight.keras_files.ported_network import PortedNetwork
from parity.keras_files.as_compiled import rates_of, stepped, trained
from parity.keras_files.file_questions import batches
from parity.keras_files.inputs import fed
from parity.question import Array, Arrays, Question, gradients_of


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
    losses, rates = [], []
    snapshots: list[Arrays] = []
    for number, batch in enumerate(batches(question), start=1):
        loss = _loss(network, batch)
        network.zero_grad()
        torch.autograd.backward(loss, inputs=[each for each in moving if each.requires_grad])
        optimizer.step()
        rates.append(optimizer.param_groups[0]["lr"])
        losses.append(loss.item())
        if number % question.settings["every"] == 0:
            snapshots.append(in_keras_layout(network.model.state_dict().values()))
    return trained(losses, snapshots) | rates_of(question, rates)


def our_steps(
    model: PortedModel,
    question: Question,
    in_torch: Callable[[Mapping[str, Array], str], Mapping[str, Tensor]],
    in_keras_layout: Callable[[Iterable[Tensor]], Arrays],
) -> Arrays:
    """Step along given gradients with the optimiser that `fit` takes from the file.

    Args:
        model: The port in the question's precision.
        question: See `steps_as_compiled`.
        in_torch: Gives a state's numbers in torch's layout for those in Keras', and a precision.
        in_keras_layout: Names a state's numbers as Keras does.
    """
    network = PortedNetwork(copy.deepcopy(model))
    network.model.load_state_dict(in_torch(question.weights, question.dtype))
    moving = {n: p for n, p in network.model.named_parameters() if p.requires_grad}
    optimizer = network.optimizer(moving.values())
    snapshots, rates = [], []
    for number, gradients in enumerate(gradients_of(question), start=1):
        given = in_torch(gradients, question.dtype)
        for name, parameter in moving.items():
            parameter.grad = given[name]
        optimizer.step()
        rates.append(optimizer.param_groups[0]["lr"])
        if number % question.settings["every"] == 0:
            snapshots.append(in_keras_layout(network.model.state_dict().values()))
    return stepped(snapshots) | rates_of(question, rates)


def _loss(network: PortedNetwork, batch: Question) -> Tensor:
    [values] = fed(batch).values()
    x = torch.from_numpy(values[..., None] if network.flat else values)
    answers, valid = network.answers(x)
    score = network.head.score(answers, torch.from_numpy(batch.inputs["label"]), valid)
    penalty = network.penalty
    return score.loss if penalty is None else score.loss + penalty
