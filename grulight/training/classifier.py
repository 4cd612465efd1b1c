"""What is trained: a network, what its answers mean, and how raw sequences enter it."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch.optim import Optimizer

from grulight.data.missing import Fill
from grulight.data.serving import ServingDataModule
from grulight.errors import InputError, option, require_choice
from grulight.heads import ClassHead, Head
from grulight.init import keras_init_
from grulight.kernels import gate
from grulight.kernels.fused import Kernel
from grulight.model import GRUNet
from grulight.optim import KerasAdam
from grulight.training import frozen
from grulight.training.answering import AnsweringModule
from grulight.training.class_weights import require_class_weight
from grulight.training.data_spec import DataSpec, ported_network
from grulight.training.starting_weights import starting_weights


class GRUClassifier(AnsweringModule):
    """Train a :class:`GRUNet` to answer what the labels ask, or a Keras model as it answers.

    An answer is one of several classes, several labels that hold or do not, or values; for each
    sequence or for each of its steps.

    Args:
        input_size: Features per time step.
        num_classes: Classes; two are told apart by a single logit. 0 where labels are values.
        hidden_size: Units of the GRU, the length of the summary per direction.
        num_layers: Stacked GRU layers.
        bidirectional: Also read the sequence backwards.
        dropout: Probability of zeroing between layers and before the head, in training only.
        bias: Whether the GRU has biases.
        init: Initial weights as Keras draws them (glorot, orthogonal, zeros) or as torch does.
        class_names: What each class is called, or each label or value.
        feature_names: What each feature is called.
        mean: Mean of each feature in training, subtracted first; None for no standardisation.
        scale: Standard deviation of each feature in training, divided by; None likewise.
        missing: How missing values are filled before they come here; None where there are none.
        fill: Mean of each feature of the source in training, which fills them; None likewise.
        from_keras: A Keras model file, or its description from a checkpoint: its model takes the
            place of the GRUNet, and the sizes above are its own.
        kernel: What computes the GRU: ``auto`` takes Numba on a CPU and Triton on CUDA where they
            can, else torch, which is cuDNN on CUDA.
        steps_per_execution: Optimiser steps in one of Lightning's, as Keras has them: the same
            training with less around it. By default as many as nobody needs to see one by one.
        num_values: Values of each label in the data; 0 where labels are classes.
        per_step: Whether the data have a label for each step.
        multilabel: Whether those values are labels, each of which holds (1) or does not (0).
        offset: What the data module subtracts from each feature, in float64; None for nothing.
        target_mean: Mean of each value in training: the network answers with values less this,
            divided by the scale, and its loss is of these. None for no scaling; a Keras model
            answers in the values' own units.
        target_scale: Standard deviation of each value in training; None likewise.
        class_weight: By what the loss of each class is multiplied in training: ``balanced`` for the
            number of labels over that of its own times that of classes, or weights by the names of
            classes, others 1. The mean divides by the number of labels, as in Keras.
        label_smoothing: How much of each label is spread evenly over the classes, as in Keras.
        weights: Checkpoint whose weights a new training starts from. The head is drawn anew where
            it answered otherwise; the features are standardised by the new data's statistics.
        freeze: Weights that stay as they are, by their names in the network: `gru.*`, or a list.

    Attributes:
        notes: What a user should know of the weights that were taken, a line each.

    Raises:
        InputError: The Keras model or the checkpoint cannot be read, or does not fit the data; or
            mean and scale are not finite numbers, one for each feature, the scale above zero; or
            nothing is called as is to be frozen.
    """

    def __init__(
        self,
        input_size: int,
        num_classes: int,
        hidden_size: int = 16,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        bias: bool = True,
        init: Literal["keras", "torch"] = "keras",
        class_names: Sequence[str] | None = None,
        feature_names: Sequence[str] | None = None,
        mean: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        from_keras: str | dict[str, Any] | None = None,
        num_values: int = 0,
        per_step: bool = False,
        kernel: Kernel = "auto",
        steps_per_execution: int | None = None,
        offset: Sequence[float] | None = None,
        missing: Fill | None = None,
        fill: Sequence[float] | None = None,
        multilabel: bool = False,
        target_mean: Sequence[float] | None = None,
        target_scale: Sequence[float] | None = None,
        class_weight: Literal["balanced"] | dict[str, float] | None = None,
        label_smoothing: float = 0.0,
        weights: str | None = None,
        freeze: Sequence[str] | str | None = None,
    ) -> None:
        super().__init__()
        require_choice("model.init", init, ("keras", "torch"))
        gate.statistics(mean, scale, input_size)
        self._offset = gate.offset(offset, input_size)
        start = None if weights is None else starting_weights(weights, from_keras)
        from_keras = from_keras if start is None else start.from_keras
        asked = (input_size, num_classes, num_values, per_step, multilabel)
        spec = DataSpec(*asked, target_mean, target_scale, label_smoothing)
        ported = ported_network(from_keras, spec) if from_keras is not None else None
        # a checkpoint must not need the files
        from_keras, weights = None if ported is None else dict(ported.description), None
        freeze = [freeze] if isinstance(freeze, str) else freeze
        self.save_hyperparameters()
        if ported is not None and ported.num_ids is not None and mean is not None:
            raise InputError(f"the Keras model reads ids; leave out {option('data.standardize')}.")
        if ported is not None and label_smoothing:
            raise InputError(
                f"{option('model.label_smoothing')}: the Keras model has its own. Leave it out."
            )
        self.head: Head = spec.head if ported is None else ported.head
        self.class_names = tuple(class_names or map(str, range(self.head.num_names)))
        self.feature_names = tuple(feature_names or map(str, range(input_size)))
        gru = (hidden_size, num_layers, bidirectional, dropout, bias)
        self.network = ported or GRUNet(input_size, self.head.size, *gru, kernel, per_step)
        self.train()  # a ported model comes ready to predict
        if init == "keras" and ported is None:
            keras_init_(self.network)
        self.notes = [] if start is None else start.give(self.network, self.hparams)
        frozen.freeze(self.network, freeze or ())
        require_class_weight(class_weight, self.head, self.class_names)
        self.register_buffer("mean", None if mean is None else torch.tensor(mean))
        self.register_buffer("scale", None if scale is None else torch.tensor(scale))
        if isinstance(self.head, ClassHead):
            self.count_confusions(num_classes)
        self.score_parts(self.head)

    def setup(self, stage: str) -> None:
        """Refuse to train a Keras model by another loss than it was compiled with.

        Weights of classes are made of the training part; windows are kept in mind.
        """
        self.serve_whole(self._trainer)
        if stage != "fit":
            return
        data = getattr(self._trainer, "datamodule", None)  # set where mypy cannot see
        self.windows = data.windows if isinstance(data, ServingDataModule) else None
        if not isinstance(self.network, GRUNet):
            self.network.require_trainable()
        self.weigh_classes(self.hparams["class_weight"])

    def configure_optimizers(self) -> Optimizer:
        """Return what a Keras model was compiled with, or Keras' Adam with its default settings."""
        if isinstance(self.network, GRUNet):
            return KerasAdam(self.parameters())
        return self.network.optimizer(self.parameters())
