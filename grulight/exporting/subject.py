"""What is exported: a checkpoint's model, from named raw inputs to named answers."""

import copy
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from grulight.checkpoint_files.reader import structure
from grulight.data.batches import Batch
from grulight.errors import InputError
from grulight.exporting.inputs import Array, Input, Trial, inputs_of
from grulight.heads import Head, ValueHead
from grulight.keras_files.plan.spec import Graph
from grulight.keras_files.port import load_keras
from grulight.keras_files.ported_model import PortedModel
from grulight.keras_files.ported_network import PortedNetwork
from grulight.model import GRUNet
from grulight.runs.checkpoint import load_classifier
from grulight.training.classifier import GRUClassifier

LENGTHS = "lengths"


@dataclass(frozen=True)
class Subject:
    """A checkpoint's model.

    A GRUNet takes `values` and gives `probabilities`, or `predictions` where it answers with
    values; a ported model takes and gives what the Keras file does, under the names of its layers.

    Attributes:
        inputs: What it takes, in order.
        outputs: What it gives, in order.
        lengths: Whether it also takes the lengths of its sequences, last.
        model: The ported model; None for a GRUNet.
        classifier: What predicts; None for a ported model that Python alone runs.
        steps: The only number of steps that it takes, or None for any.
    """

    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    lengths: bool
    model: PortedModel | None
    classifier: GRUClassifier | None
    steps: int | None

    @property
    def graph(self) -> Graph | None:
        """The calls of a ported model."""
        return None if self.model is None else self.model.network.graph

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of everything it takes."""
        return tuple(each.name for each in self.inputs) + (LENGTHS,) * self.lengths

    @property
    def statistics(self) -> tuple[Tensor, Tensor] | None:
        """Mean and scale that standardise the input; None for none."""
        if self.classifier is None or self.classifier.mean is None:
            return None
        assert self.classifier.scale is not None
        return self.classifier.mean, self.classifier.scale

    def in_float64(self) -> "Subject":
        """Return the same in float64."""
        classifier = copy.deepcopy(self.classifier)
        if classifier is None:
            assert self.model is not None
            return replace(self, model=copy.deepcopy(self.model).double())
        network = classifier.double().network
        model = network.model if isinstance(network, PortedNetwork) else None
        return replace(self, classifier=classifier, model=model)

    def answers(self, trial: Trial, dtype: torch.dtype = torch.float32) -> list[Array]:
        """Return what the checkpoint answers to a batch, in the order of the outputs."""
        with torch.no_grad():
            tensors = [torch.from_numpy(trial[each.name]) for each in self.inputs]
            tensors = [t.to(dtype) if t.is_floating_point() else t for t in tensors]
            if self.model is None:
                return [self._predicted(tensors[0], trial.get(LENGTHS))]
            if self.classifier is not None:
                tensors[0] = self.classifier.standardized(tensors[0])
            if self.lengths:
                absent = np.arange(tensors[0].shape[1]) >= trial[LENGTHS][:, None]
                tensors[0][torch.from_numpy(absent)] = 0
            answered = self.model(*tensors)
            several = (answered,) if isinstance(answered, Tensor) else answered
            return [each.numpy() for each in several]

    def _predicted(self, values: Tensor, lengths: Array | None) -> Array:
        assert self.classifier is not None
        valid = None if lengths is None else torch.from_numpy(lengths)
        return self.classifier.predict_step(Batch(values, valid, None)).numpy()

    @property
    def notes(self) -> Mapping[str, str]:
        """What a file says of itself beside the graph, as JSON."""
        notes = {"grulight_version": json.dumps(version("grulight"))}
        if self.model is not None:
            notes |= {"input_names": json.dumps(self.input_names)}
            notes |= {"output_names": json.dumps(self.outputs)}
        if self.classifier is None:
            return notes
        return {
            "class_names": json.dumps(self.classifier.class_names),
            "feature_names": json.dumps(self.classifier.feature_names),
        } | notes


def subject_of(path: str | os.PathLike[str], lengths: bool) -> Subject:
    """Read a checkpoint.

    Raises:
        InputError: It is none, or it cannot take lengths.
    """
    if "keras_model" in structure(path):
        return _ported(load_keras(Path(path)), None, lengths)
    classifier = load_classifier(path)
    network = classifier.network
    if isinstance(network, GRUNet):
        values = Input("values", (None, None, len(classifier.feature_names)))
        values = _as_trained(values, classifier)
        answers = "predictions" if isinstance(classifier.head, ValueHead) else "probabilities"
        return Subject((values,), (answers,), lengths, None, classifier, None)
    return _ported(network.model, classifier, lengths)


def _ported(model: PortedModel, classifier: GRUClassifier | None, lengths: bool) -> Subject:
    graph, inputs = model.network.graph, inputs_of(model)
    if lengths and (classifier is None or LENGTHS in graph.input_names):
        raise InputError(
            "takes no lengths: --lengths is for models that read one sequence. Leave it out."
        )
    names: list[str] = []
    for ref in graph.outputs:
        name, turn = ref.layer, 1
        while name in names or name in graph.input_names:
            name, turn = f"{ref.layer}_{turn}", turn + 1
        names.append(name)
    if classifier is not None:
        inputs = (_as_trained(inputs[0], classifier),)
    steps = graph.shapes[0][1] if len(graph.shapes[0]) > 1 else None
    return Subject(inputs, tuple(names), lengths, model, classifier, steps)


def units_of(head: Head) -> tuple[Array, Array] | None:
    """Return mean and deviation (K,) by which a GRUNet's answers become values; None for none."""
    if not isinstance(head, ValueHead) or not head.mean:
        return None
    return np.array(head.mean), np.array(head.scale)


def _as_trained(given: Input, classifier: GRUClassifier) -> Input:
    if classifier.mean is None or classifier.scale is None:
        return given
    return replace(given, mean=classifier.mean.numpy(), scale=classifier.scale.numpy())
