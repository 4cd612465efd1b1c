"""Known wrong ports. A proof that does not catch every one of them proves nothing."""

from collections.abc import Callable
from dataclasses import dataclass

from grulight.kernels.reference import sigmoid
from parity.cases import Arrays, Network, Question, Task
from parity.controls.wrong_answers import (
    Side,
    Wrong,
    bias_rows_swapped,
    biases_forgotten,
    cell,
    directions_swapped,
    gates_not_permuted,
    gradient_cut,
    hard_sigmoid_of_keras_2,
    hard_sigmoid_of_keras_3,
    last_step_read,
    loss_summed,
    of_inputs,
    of_optimizer,
    of_weights,
    recurrent_bias_folded,
    recurrent_blocks_transposed,
    softmax_twice,
    update_gate_inverted,
    without_lengths,
    without_shuffling,
    without_state,
)
from parity.sides import reference_side

__all__ = ["FAULTS", "RAGGED", "Fault", "Side"]

RAGGED = "random_weights_ragged_odd_batch"


@dataclass(frozen=True)
class Fault:
    """A mistake that somebody made when porting.

    Attributes:
        name: Short name.
        mistake: What is done wrong, as a sentence fragment.
        task: Which questions show it.
        wrong: The wrong answer to a question, given our side.
        case: Which case of that task; None for any.
        shows: Whether networks of these sizes can show it at all.
        right: What to compare with where the other side computes something else.
    """

    name: str
    mistake: str
    task: Task
    wrong: Wrong
    case: str | None = None
    shows: Callable[[Network], bool] = lambda network: True
    right: Callable[[Question], Arrays] | None = None

    def concerns(self, question: Question) -> bool:
        """Whether this question, asked in float64, must show the fault."""
        return (
            question.task == self.task
            and question.dtype == "float64"
            and self.case in (None, question.name)
            and self.shows(question.network)
        )


FAULTS = (
    Fault(
        "gates not permuted",
        "the gates stay in Keras' order z, r, h",
        "network",
        of_weights(gates_not_permuted),
        RAGGED,
    ),
    Fault(
        "update gate inverted",
        "h = (1 - z) h + z n, as papers write it",
        "network",
        of_weights(update_gate_inverted),
        RAGGED,
    ),
    Fault(
        "recurrent blocks transposed",
        "the (H, H) blocks of the recurrent kernel are not transposed",
        "network",
        of_weights(recurrent_blocks_transposed),
        RAGGED,
        lambda network: network.hidden_size > 1,
    ),
    Fault(
        "bias rows swapped",
        "the first row of the bias is taken for the recurrent one",
        "network",
        of_weights(bias_rows_swapped),
        RAGGED,
        lambda network: network.bias,
    ),
    Fault(
        "recurrent bias folded",
        "the recurrent bias is added to the input bias",
        "network",
        of_weights(recurrent_bias_folded),
        RAGGED,
        lambda network: network.bias,
    ),
    Fault(
        "biases forgotten",
        "the biases stay zero, as in a fresh layer",
        "network",
        of_weights(biases_forgotten),
        RAGGED,
        lambda network: network.bias,
    ),
    Fault(
        "directions swapped",
        "the backward layer is taken for the forward one",
        "network",
        of_weights(directions_swapped),
        RAGGED,
        lambda network: network.bidirectional,
    ),
    Fault(
        "reset before",
        "the reset gate is applied before the matrix product (reset_after=False)",
        "network",
        cell(sigmoid, reset_after=False),
        RAGGED,
    ),
    Fault(
        "hard sigmoid",
        "the gates use Keras 2's hard_sigmoid where sigmoid was meant",
        "network",
        cell(hard_sigmoid_of_keras_2),
        RAGGED,
    ),
    Fault(
        "new hard_sigmoid for an old file",
        "the gates use Keras 3's hard_sigmoid where Keras 2's was meant",
        "network",
        cell(hard_sigmoid_of_keras_3),
        RAGGED,
        right=lambda question: cell(hard_sigmoid_of_keras_2)(question, reference_side.answer),
    ),
    Fault(
        "last step read",
        "the head reads time step T - 1 instead of the last valid step",
        "network",
        last_step_read,
        RAGGED,
    ),
    Fault(
        "padding read",
        "the lengths are ignored and padding is read as data",
        "network",
        of_inputs(without_lengths),
        RAGGED,
    ),
    Fault(
        "initial state forgotten",
        "the state starts at zero",
        "network",
        of_inputs(without_state),
        RAGGED,
    ),
    Fault(
        "gradient cut",
        "gradients flow through the last three time steps only",
        "network",
        gradient_cut,
        RAGGED,
    ),
    Fault("softmax twice", "a loss from logits is given probabilities", "losses", softmax_twice),
    Fault("loss summed", "the loss is summed over the batch", "losses", loss_summed),
    Fault(
        "torch's Adam",
        "epsilon enters after bias correction (torch.optim.Adam(eps=1e-7))",
        "steps",
        of_optimizer("torch.adam"),
        "adam",
    ),
    Fault(
        "torch's RMSprop",
        "epsilon is added to the root (torch.optim.RMSprop)",
        "steps",
        of_optimizer("torch.rmsprop"),
        "rmsprop",
    ),
    Fault(
        "weight decay in the gradient",
        "AdamW's decay is added to the gradient (torch.optim.Adam(weight_decay=…))",
        "steps",
        of_optimizer("torch.adam_l2"),
        "adamw",
    ),
    Fault(
        "another order",
        "every epoch visits the sequences in the order of the first",
        "training",
        without_shuffling,
    ),
)
