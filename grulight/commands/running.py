"""What the commands that run a Trainer share: where it writes, and what they print of it."""

from collections.abc import Iterable
from pathlib import Path

from lightning.pytorch import Trainer
from rich.console import Console
from rich.markup import escape
from torchmetrics import Metric

from grulight.commands.lightning_messages import one_line_errors
from grulight.data.datamodule import SequenceDataModule
from grulight.data.sequences import Sequences
from grulight.errors import one_line
from grulight.files import require_writable
from grulight.keras_files.compiled_words import other_loss
from grulight.keras_files.ported_network import PortedNetwork
from grulight.trace import terminal
from grulight.trace.confusion_picture import PICTURE_CLASSES, save_confusion_picture
from grulight.trace.scores import class_scores
from grulight.training.classifier import GRUClassifier
from grulight.training.measured import MeasuredModule
from grulight.training.part_scores import left_out


def test_and_show(
    trainer: Trainer, model: MeasuredModule, data: SequenceDataModule, console: Console
) -> None:
    """Test, print the scores, and for classes the confusion matrix, which is pictured too."""
    with one_line_errors():
        trainer.test(model, datamodule=data, verbose=False)
    if not model.test_means.sums.any():  # --trainer.limit_test_batches 0
        return
    names, scores = model.class_names, metrics_of(trainer)
    whole = sum(trainer.num_test_batches) == len(data.test_dataloader())
    if whole and (naive := data.last_value_error) is not None:
        scores["mae of the last value"] = naive
    console.print(terminal.score_table(f"test ({len(data.parts.test)} sequences)", scores))
    say_left_out(model.test_scores, model, console)
    if model.confusion is None:
        return
    confusion = model.confusion.compute().cpu().numpy()
    things = "steps" if model.head.per_step else "sequences"
    console.print(terminal.class_table(class_scores(confusion, names), things))
    if len(names) <= terminal.MATRIX_CLASSES:
        console.print(terminal.confusion_table(confusion, names))
    directory = run_directory(trainer)
    if directory is not None and len(names) <= PICTURE_CLASSES:
        save_confusion_picture(confusion, names, directory / "confusion_matrix.png")


def say_other_loss(classifier: GRUClassifier, console: Console) -> None:
    """Say where the loss that is measured is not the one that a Keras file was compiled with."""
    network = classifier.network
    line = other_loss(network) if isinstance(network, PortedNetwork) else None
    if line is not None:
        console.print(escape(line))


def say_left_out(scores: Metric | None, model: MeasuredModule, console: Console) -> None:
    """Say which classes or values have no score, after a test or a validation."""
    line = None if scores is None else left_out(scores, model.class_names)
    if line is not None:
        console.print(one_line(line), markup=False, highlight=False, soft_wrap=True)


def metrics_of(trainer: Trainer) -> dict[str, float]:
    """Return what the Trainer measured last, by name."""
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def show_lines(lines: Iterable[str], console: Console) -> None:
    """Print what the user should know of what was read."""
    for line in lines:
        console.print(one_line(line), markup=False, highlight=False, soft_wrap=True)


def say_padding_is_read(
    classifier: GRUClassifier, parts: Iterable[Sequences], console: Console
) -> None:
    """Say where a Keras model that masks no step reads what fills shorter sequences up."""
    network = classifier.network
    if not isinstance(network, PortedNetwork) or network.masked_value is not None:
        return
    for part in parts:
        steps = network.steps or part.values.shape[1]
        if (part.lengths < steps).any():
            console.print(
                f"the Keras model masks no steps: behind sequences shorter than {steps} steps it "
                "reads zeros, as Keras does in arrays that are padded so",
                soft_wrap=True,
            )
            return


def require_output(trainer: Trainer) -> None:
    """Check that a run can write before it works.

    Raises:
        InputError: It cannot.
    """
    if trainer.logger or trainer.checkpoint_callbacks:
        require_writable(trainer.default_root_dir)


def show_files(trainer: Trainer, console: Console) -> None:
    """Print what the run directory holds."""
    directory = run_directory(trainer)
    if directory is not None:
        console.print(terminal.file_list(directory), soft_wrap=True)


def run_directory(trainer: Trainer) -> Path | None:
    """Return where this process writes; None for all processes but the first.

    ``trainer.log_dir`` asks all processes, of which some may have left.
    """
    if trainer.logger is None or not trainer.is_global_zero:
        return None
    directory = getattr(trainer.logger, "log_dir", None) or trainer.logger.save_dir
    return None if directory is None else Path(directory)
