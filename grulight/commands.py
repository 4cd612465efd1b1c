"""What each command does, once its settings are read."""

from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Trainer
from rich.console import Console

from grulight.checkpoint import read_checkpoint, refuse_foreign_shapes
from grulight.data.datamodule import SequenceDataModule
from grulight.errors import InputError
from grulight.evaluation import PICTURE_CLASSES, save_confusion_picture
from grulight.files import require_writable
from grulight.lightning_cli import CheckpointCLI, FitCLI, one_line_errors, quieten
from grulight.predictions import prediction_table, require_table_suffix, write_predictions
from grulight.task import GRUClassifier
from grulight.trace import terminal


def fit(arguments: list[str]) -> None:
    """Train, test, and say where every file went."""
    quieten()
    cli = FitCLI(arguments, Console())
    ckpt_path = cli.config["ckpt_path"]
    if ckpt_path:
        _require_continuable(ckpt_path, cli.model, cli.trainer)
    _require_output(cli.trainer)
    try:
        with one_line_errors():
            cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=ckpt_path)
    except SystemExit as stop:  # Lightning's answer to Ctrl-C
        cli.console.print("`--ckpt_path` with last.ckpt goes on after its epoch")
        _show_files(cli.trainer, cli.console)
        raise KeyboardInterrupt from stop
    if len(cli.datamodule.parts.test):
        _test(cli.trainer, cli.model, cli.datamodule, cli.console)
    _show_files(cli.trainer, cli.console)


def validate(arguments: list[str]) -> None:
    """Measure a checkpoint on the validation part."""
    quieten()
    cli = CheckpointCLI("validate", arguments, Console())
    if not len(cli.datamodule.parts.val):
        raise InputError("there is no validation part; set --data.val_size, such as 0.1.")
    _require_output(cli.trainer)
    with one_line_errors():
        cli.trainer.validate(cli.classifier, datamodule=cli.datamodule, verbose=False)
    cli.console.print(terminal.score_table("validation", _metrics(cli.trainer)))
    _show_files(cli.trainer, cli.console)


def test(arguments: list[str]) -> None:
    """Measure a checkpoint on the test part: scores; for classes the confusion matrix, pictured."""
    quieten()
    cli = CheckpointCLI("test", arguments, Console())
    if not len(cli.datamodule.parts.test):
        raise InputError("there is no test part; set --data.train_size below 1.")
    _require_output(cli.trainer)
    _test(cli.trainer, cli.classifier, cli.datamodule, cli.console)
    _show_files(cli.trainer, cli.console)


def predict(arguments: list[str]) -> None:
    """Answer for every sequence of a source and write the table."""
    quieten()
    cli = CheckpointCLI("predict", arguments, Console())
    output = Path(cli.config["output"])
    require_table_suffix(output)
    parts = cli.datamodule.unlabelled
    require_writable(output.parent)
    answers: list[torch.Tensor] = []
    with one_line_errors():
        for part in parts:
            batches = cli.datamodule.batches(part)
            answers += cli.trainer.predict(cli.classifier, batches) or []  # type: ignore[arg-type]
    if sum(map(len, answers)) != sum(map(len, parts)):
        raise InputError(
            "predict labels every sequence; leave out --trainer.fast_dev_run and "
            "--trainer.limit_predict_batches."
        )
    table = prediction_table(
        cli.classifier.head,
        cli.classifier.class_names,
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.lengths for part in parts]),
        [answer.float().numpy() for answer in answers],
        getattr(cli.classifier.network, "follows_steps", False),
    )
    write_predictions(output, table)
    line = f"{sum(map(len, parts))} sequences labelled: {output}"
    cli.console.print(line, markup=False, soft_wrap=True)


def _test(
    trainer: Trainer, classifier: GRUClassifier, data: SequenceDataModule, console: Console
) -> None:
    with one_line_errors():
        trainer.test(classifier, datamodule=data, verbose=False)
    if not classifier.test_means.sums.any():  # --trainer.limit_test_batches 0
        return
    names = classifier.class_names
    console.print(
        terminal.score_table(f"test ({len(data.parts.test)} sequences)", _metrics(trainer))
    )
    if classifier.confusion is None:
        return
    confusion = classifier.confusion.compute().cpu().numpy()
    if len(names) <= terminal.MATRIX_CLASSES:
        console.print(terminal.confusion_table(confusion, names))
    drawn = len(names) <= PICTURE_CLASSES and trainer.log_dir and trainer.logger
    if drawn and trainer.is_global_zero:
        save_confusion_picture(
            confusion, names, Path(str(trainer.log_dir)) / "confusion_matrix.png"
        )


def _metrics(trainer: Trainer) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def _require_output(trainer: Trainer) -> None:
    if trainer.logger or trainer.checkpoint_callbacks:
        require_writable(trainer.default_root_dir)


def _show_files(trainer: Trainer, console: Console) -> None:
    if trainer.logger and trainer.log_dir and trainer.is_global_zero:
        console.print(terminal.file_list(Path(trainer.log_dir)), soft_wrap=True)


def _require_continuable(path: str, classifier: GRUClassifier, trainer: Trainer) -> None:
    """Check that a run can go on from a checkpoint before Lightning tries."""
    checkpoint = read_checkpoint(path)
    refuse_foreign_shapes(path, checkpoint)
    if "loops" not in checkpoint:
        raise InputError(
            f"{path}: holds a model that `grulight port` wrote and no training to continue. Train "
            "it with --model.from_keras and the Keras file."
        )
    if not checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["is_last_batch"]:
        raise InputError(
            f"{path}: stopped within epoch {checkpoint['epoch'] + 1}; training goes on from whole "
            "epochs only. Continue from one that --trainer.max_epochs ended."
        )
    if checkpoint["optimization"] != classifier.optimization:
        raise InputError(
            f"{path}: was trained with {checkpoint['optimization']}, this run has "
            f"{classifier.optimization}. Give it the same optimizer and lr_scheduler to continue."
        )
    for name, was in checkpoint["hyper_parameters"].items():
        now = classifier.hparams[name]
        if name != "init" and _plain(now) != _plain(was):
            raise InputError(
                f"{path}: was trained with {name}={was}, this run has {name}={now}. "
                "Give it the same data and model settings to continue."
            )
    done = checkpoint["epoch"] + 1
    if trainer.max_epochs is not None and 0 <= trainer.max_epochs <= done:
        raise InputError(
            f"{path}: has finished {done} of {trainer.max_epochs} epochs; nothing is left to "
            f"train. Ask for more with --trainer.max_epochs, such as {2 * done}."
        )


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
