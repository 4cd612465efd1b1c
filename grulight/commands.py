"""What each command does, once its settings are read."""

from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from rich.console import Console

from grulight.checkpoint import Checkpoint
from grulight.data.datamodule import SequenceDataModule
from grulight.errors import InputError, one_line
from grulight.evaluation import PICTURE_CLASSES, save_confusion_picture
from grulight.files import require_writable
from grulight.interruption import EXIT_CODE
from grulight.lightning_cli import CheckpointCLI, FitCLI, one_line_errors, quieten
from grulight.metrics import MetricsFile
from grulight.predictions import PredictionWriter, require_table_suffix, written_table
from grulight.resume import ended_epoch
from grulight.task import GRUClassifier
from grulight.trace import terminal
from grulight.trace.page import write_page
from grulight.trace.recorder import TraceRecorder

_AT_ONCE = 256  # sequences of a prediction


def fit(arguments: list[str]) -> None:
    """Train, test, and say where every file went."""
    quieten()
    cli = FitCLI(arguments, Console())
    _require_output(cli.trainer)
    with cli.run_directory():
        _train(cli)
        if len(cli.datamodule.parts.test):
            _test(cli.trainer, cli.model, cli.datamodule, cli.console)
        try:
            _write_page(cli)
        finally:  # whatever becomes of the page, the run is there
            _show_files(cli.trainer, cli.console)


def _train(cli: FitCLI) -> None:
    if cli.resumed is not None:
        _continue_metrics(cli.trainer, cli.resumed)
    try:
        with one_line_errors():
            cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=cli.ckpt_path)
    except SystemExit as stop:
        directory = _run_directory(cli.trainer)
        if directory is not None and any(directory.glob("checkpoints/*.ckpt")):
            cli.console.print("`--ckpt_path auto` goes on from the newest checkpoint")
        _show_files(cli.trainer, cli.console)
        if isinstance(stop, SIGTERMException):  # it came before our own handler stood
            raise SystemExit(EXIT_CODE) from stop
        raise


def validate(arguments: list[str]) -> None:
    """Measure a checkpoint on the validation part."""
    quieten()
    cli = CheckpointCLI("validate", arguments, Console())
    if not len(cli.datamodule.parts.val):
        raise InputError("there is no validation part; set --data.val_size, such as 0.1.")
    _require_output(cli.trainer)
    cli.make_run_directory()
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
    cli.make_run_directory()
    _test(cli.trainer, cli.classifier, cli.datamodule, cli.console)
    _show_files(cli.trainer, cli.console)


def predict(arguments: list[str]) -> None:
    """Answer for every sequence of a source and write the table."""
    quieten()
    # larger batches than training's are quicker; what the user says comes later and counts
    cli = CheckpointCLI("predict", [f"--data.batch_size={_AT_ONCE}", *arguments], Console())
    output = Path(cli.config["output"])
    require_table_suffix(output, spreadsheet_safe=cli.config["spreadsheet_safe"])
    parts = cli.datamodule.unlabelled
    require_writable(output.parent)
    safe = cli.config["spreadsheet_safe"]
    with written_table(output, spreadsheet_safe=safe) as table, one_line_errors():
        writer = PredictionWriter(table, parts)
        cli.trainer.callbacks.append(writer)  # type: ignore[attr-defined]  # set by a connector
        batches = [cli.datamodule.batches(part) for part in parts]
        cli.trainer.predict(cli.classifier, batches, return_predictions=False)
        if not writer.complete:
            raise InputError(
                "predict labels every sequence; leave out --trainer.fast_dev_run and "
                "--trainer.limit_predict_batches."
            )
    count = sum(map(len, parts))
    speed = f"{writer.seconds:.1f} s ({count / writer.seconds:,.0f} sequences/s)"
    line = f"{count} sequences labelled in {speed}: {one_line(output)}"
    cli.console.print(line, markup=False, highlight=False, soft_wrap=True)


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
    directory = _run_directory(trainer)
    if directory is not None and len(names) <= PICTURE_CLASSES:
        save_confusion_picture(confusion, names, directory / "confusion_matrix.png")


def _write_page(cli: FitCLI) -> None:
    directory = _run_directory(cli.trainer)
    if directory is not None:
        epochs = cli.recorder.epochs
        page = directory / "trace.html"
        write_page(page, cli.model, cli.datamodule.parts, epochs, name=str(directory))


def _metrics(trainer: Trainer) -> dict[str, float]:
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def _require_output(trainer: Trainer) -> None:
    if trainer.logger or trainer.checkpoint_callbacks:
        require_writable(trainer.default_root_dir)


def _continue_metrics(trainer: Trainer, checkpoint: Checkpoint) -> None:
    """Let ``metrics.csv`` end where the checkpoint was written."""
    step = checkpoint["global_step"]
    for logger in trainer.loggers:
        if isinstance(logger, MetricsFile) and trainer.is_global_zero:
            logger.continue_from(step)
            state = checkpoint["callbacks"].get("TraceRecorder", {"epochs": ""})
            if ended_epoch(checkpoint) and state["epochs"]:  # a kill may have come before its row
                recorder = TraceRecorder()
                recorder.load_state_dict(state)
                epoch = recorder.epochs[-1]
                logger.log_metrics({"epoch": epoch.number - 1} | epoch.metrics, step - 1)


def _show_files(trainer: Trainer, console: Console) -> None:
    directory = _run_directory(trainer)
    if directory is not None:
        console.print(terminal.file_list(directory), soft_wrap=True)


def _run_directory(trainer: Trainer) -> Path | None:
    """Return where this process writes; None for all processes but the first.

    ``trainer.log_dir`` asks all processes, of which some may have left.
    """
    if trainer.logger is None or not trainer.is_global_zero:
        return None
    directory = getattr(trainer.logger, "log_dir", None) or trainer.logger.save_dir
    return None if directory is None else Path(directory)
