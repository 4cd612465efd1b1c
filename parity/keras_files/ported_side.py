"""Our answers on a Keras file: the ported model, its weights and gradients in Keras' layout."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from grulight.keras_files.layers.base import KerasLayer
from grulight.keras_files.layers.normalization import BatchNormalization
from grulight.keras_files.ported_model import PortedModel
from parity.keras_files.file_questions import batches
from parity.keras_files.inputs import fed
from parity.keras_files.layout import by_path, places_of
from parity.keras_files.losses import losses_of
from parity.keras_files.our_compiled import our_steps, our_training
from parity.question import Array, Arrays, Question
from parity.sides.torch_optimizers import OPTIMIZERS
from parity.sides.torch_side import TorchSide


class PortedSide:
    """Answer questions about a Keras file with the model that ``load_keras`` made of it.

    Weights travel by number: every number of the model is given a place of its own, the model says
    where Keras has each of them, and that is undone. So whatever the port does wrong stays wrong.

    Args:
        model: The ported model.
        change: What to do wrong in the model, for negative controls.
    """

    def __init__(
        self, model: PortedModel, change: Callable[[nn.Module], None] = lambda module: None
    ) -> None:
        self.model = model
        self.models = {
            "float64": copy.deepcopy(model).double(),
            "float32": copy.deepcopy(model).float(),
        }
        for each in self.models.values():
            each.apply(change)
            each.apply(_at_rest).eval()
        self.places = places_of(model)

    @property
    def name(self) -> str:
        """What computes, for reports."""
        return f"grulight.load_keras, torch {torch.__version__}"

    @property
    def trained(self) -> tuple[str, ...]:
        """The weights that a training moves, by name."""
        state = self.model.state_dict(keep_vars=True).values()
        moves = np.concatenate([np.full(each.numel(), each.requires_grad) for each in state])
        return tuple(name for name, place in self.places.items() if moves[place].all())

    def changed(self, change: Callable[[nn.Module], None]) -> "PortedSide":
        """Return a wrong port: the same side with a changed model."""
        return PortedSide(self.model, change)

    def __call__(self, question: Question) -> Arrays:
        """Compute what a question asks."""
        if question.task == "steps":
            own = "compiled" in question.settings
            return self._own_steps(question) if own else TorchSide()(question)
        answer: Arrays = getattr(self, f"_{question.task}")(question)
        return answer

    def _weights(self, question: Question) -> Arrays:
        """Return the weights as ported from the file, and random ones as loaded and read back."""
        model = copy.deepcopy(self.models[question.dtype])
        model.load_state_dict(self._state(question.weights, question.dtype))
        read, loaded = by_path(self.model.keras_arrays()), by_path(model.keras_arrays())
        answer = {f"weights.{name}": read[name].astype(question.dtype) for name in self.places}
        return answer | {f"keras.{name}": loaded[name] for name in self.places}

    def _network(self, question: Question) -> Arrays:
        """Run the model forward, and backward from random cotangents and from the losses."""
        state = self._state(question.weights, question.dtype)
        inputs = {name: torch.tensor(array) for name, array in fed(question).items()}
        floats = {f"input {n}": each for n, each in inputs.items() if each.is_floating_point()}
        leaves = [*state.values(), *floats.values()]
        for leaf in leaves:
            leaf.requires_grad_()
        outputs = self._outputs(question, state, inputs)
        losses = losses_of(question, outputs)
        pulls = [(y * torch.tensor(question.inputs[f"pull.{n}"])).sum() for n, y in outputs.items()]
        answer = {f"output.{name}": output.detach().numpy() for name, output in outputs.items()}
        answer |= {f"loss.{name}": np.asarray(loss.detach()) for name, loss in losses.items()}
        for prefix, terms in (("grad", pulls), ("lossgrad", [*losses.values()])):
            found = torch.autograd.grad(
                torch.stack(terms).sum(), leaves, retain_graph=True, materialize_grads=True
            )
            named = self._in_keras_layout(found[: len(state)])
            named |= {n: g.numpy() for n, g in zip(floats, found[len(state) :], strict=True)}
            answer |= {f"{prefix}.{name}": array for name, array in named.items()}
        return answer

    def _forward(self, question: Question) -> Arrays:
        """Run the model forward."""
        state = self._state(question.weights, question.dtype)
        inputs = {name: torch.tensor(array) for name, array in fed(question).items()}
        with torch.no_grad():
            outputs = self._outputs(question, state, inputs)
        return {f"output.{name}": output.numpy() for name, output in outputs.items()}

    def _training(self, question: Question) -> Arrays:
        """Train with Adam on the question's batches, one after the other, again and again.

        The answer holds every array of the model, also those that only a forward pass moves.
        """
        state = self._state(question.weights, question.dtype)
        moves = self._state(self._marks(question), question.dtype)
        if "compiled" in question.settings:
            model = self.models[question.dtype]
            return our_training(model, state, moves, question, self._in_keras_layout)
        trained = [
            nn.Parameter(state[name]) if held.requires_grad else None
            for name, held in self.model.state_dict(keep_vars=True).items()
        ]
        state |= {n: p for n, p in zip(state, trained, strict=True) if p is not None}
        moving = [each for each in trained if each is not None]
        marks = [m for m, p in zip(moves.values(), trained, strict=True) if p is not None]
        optimizer = OPTIMIZERS["adam"](moving, lr=1e-3)
        losses, snapshots = [], []
        for number, batch in enumerate(batches(question), start=1):
            inputs = {name: torch.tensor(array) for name, array in fed(batch).items()}
            outputs = self._outputs(batch, state, inputs)
            loss = torch.stack([*losses_of(batch, outputs).values()]).sum()
            gradients = torch.autograd.grad(loss, moving, materialize_grads=True)
            for parameter, gradient, mark in zip(moving, gradients, marks, strict=True):
                parameter.grad = gradient * mark
            optimizer.step()
            losses.append(loss.item())
            if number % question.settings["every"] == 0:
                snapshots.append(self._in_keras_layout([*state.values()]))
        return {"train.loss": np.array(losses)} | {
            f"train.{name}": np.stack([each[name] for each in snapshots]) for name in self.places
        }

    def _own_steps(self, question: Question) -> Arrays:
        """Step along given gradients with the file's own optimiser."""
        model = self.models[question.dtype]
        return our_steps(model, question, self._state, self._in_keras_layout)

    def _marks(self, question: Question) -> Arrays:
        """Return one for every number that a training moves, and zero for those held still."""
        still = question.settings["still"]
        return {n: np.full(p.shape, float(n not in still)) for n, p in self.places.items()}

    def _outputs(
        self, question: Question, state: dict[str, Tensor], inputs: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        model = self.models[question.dtype]
        with _as_in_training(model, question.settings["as_in_training"]):
            found = torch.func.functional_call(model, state, tuple(inputs.values()))
        found = tuple(found.values()) if isinstance(found, dict) else found
        several = found if isinstance(found, tuple) else (found,)
        return dict(zip(question.settings["outputs"], several, strict=True))

    def _state(self, weights: Mapping[str, Array], dtype: str) -> dict[str, Tensor]:
        """Return the ``state_dict`` for weights in Keras' layout."""
        held = self.model.state_dict()
        numbers = np.empty(sum(each.numel() for each in held.values()), dtype)
        for name, place in self.places.items():
            numbers[place] = weights[name]
        parts = torch.split(torch.tensor(numbers), [each.numel() for each in held.values()])
        return {
            name: part.view(like.shape).clone()
            for (name, like), part in zip(held.items(), parts, strict=True)
        }

    def _in_keras_layout(self, tensors: Any) -> Arrays:
        """Return arrays in Keras' layout for tensors in the order of the ``state_dict``."""
        numbers = torch.cat([each.detach().reshape(-1) for each in tensors]).numpy()
        return {name: numbers[place] for name, place in self.places.items()}


@contextmanager
def _as_in_training(model: nn.Module, asked: bool) -> Iterator[None]:
    """Let what computes otherwise in training, but draws nothing, do so: batch normalisation."""
    layers = [each for each in model.modules() if isinstance(each, BatchNormalization)]
    for layer in layers:
        layer.train(asked)
    try:
        yield
    finally:
        for layer in layers:
            layer.eval()


def _at_rest(module: nn.Module) -> None:
    """Let a layer that the file calls with training=True compute what it does in inference."""
    if isinstance(module, KerasLayer):
        module.always = None
