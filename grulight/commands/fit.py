"""``grulight fit``: train, test, and say where every file went."""

from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from rich.markup import escape

from grulight.checkpoint_files.reader import Checkpoint
from grulight.commands.console import open_console
from grulight.commands.fit_cli import FitCLI
from grulight.commands.lightning_messages import one_line_errors, silence_expected_warnings
from grulight.commands.running import (
    require_output,
    run_directory,
    show_files,
    show_notes,
    test_and_show,
)
from grulight.keras_files.compiled_words import not_taken_over, taken_over
from grulight.keras_files.ported_network import PortedNetwork
from grulight.runs.metrics_csv import MetricsFile
from grulight.runs.resuming import ended_epoch
from grulight.runs.signals import EXIT_CODE
from grulight.trace.page import write_page
from grulight.trace.recorder import TraceRecorder


def run(arguments: list[str]) -> None:
    """Train, test, and say where every file went."""
    silence_expected_warnings()
    cli = FitCLI(arguments, open_console())
    require_output(cli.trainer)
    show_notes(cli.datamodule, cli.console)
    _say_what_it_was_compiled_with(cli)
    with cli.run_directory():
        _train(cli)
        if len(cli.datamodule.parts.test):
            test_and_show(cli.trainer, cli.model, cli.datamodule, cli.console)
        try:
            _write_page(cli)
        finally:  # whatever becomes of the page, the run is there
            show_files(cli.trainer, cli.console)


def _say_what_it_was_compiled_with(cli: FitCLI) -> None:
    network = cli.model.network
    if isinstance(network, PortedNetwork):
        named = cli.config.get("optimizer") is not None
        lines = (taken_over(network.model, own_optimizer=named), not_taken_over(network.model))
        for line in filter(None, lines):
            cli.console.print(escape(line))


def _train(cli: FitCLI) -> None:
    if cli.resumed is not None:
        _continue_metrics(cli.trainer, cli.resumed)
    try:
        with one_line_errors():
            cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=cli.ckpt_path)
    except SystemExit as stop:
        directory = run_directory(cli.trainer)
        if directory is not None and any(directory.glob("checkpoints/*.ckpt")):
            cli.console.print("`--ckpt_path auto` goes on from the newest checkpoint")
        show_files(cli.trainer, cli.console)
        if isinstance(stop, SIGTERMException):  # it came before our own handler stood
            raise SystemExit(EXIT_CODE) from stop
        raise


def _write_page(cli: FitCLI) -> None:
    directory = run_directory(cli.trainer)
    if directory is not None:
        epochs = cli.recorder.epochs
        page = directory / "trace.html"
        write_page(page, cli.model, cli.datamodule.parts, epochs, name=str(directory))


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
