"""``grulight fit``: train, test, and say where every file went."""

from jsonargparse import Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException
from rich.console import Console
from rich.markup import escape

from grulight.checkpoint_files.reader import Checkpoint, read_checkpoint
from grulight.commands.console import open_console
from grulight.commands.fit_cli import FitCLI
from grulight.commands.lightning_messages import one_line_errors, silence_expected_warnings
from grulight.commands.running import (
    metrics_of,
    require_output,
    run_directory,
    say_padding_is_read,
    show_files,
    show_lines,
    test_and_show,
)
from grulight.data.sequences import Sequences
from grulight.errors import InputError
from grulight.keras_files.compiled_words import not_taken_over, taken_over
from grulight.keras_files.layer_report import state_not_kept
from grulight.keras_files.ported_network import PortedNetwork
from grulight.runs.early_stopping import stopped_words
from grulight.runs.ensemble import Ensemble
from grulight.runs.metrics_csv import MetricsFile
from grulight.runs.saving import RunCheckpoint
from grulight.runs.seeds import write_seeds
from grulight.runs.signals import EXIT_CODE
from grulight.trace import terminal
from grulight.trace.numbers import fitted
from grulight.trace.page import write_page
from grulight.trace.recorder import TraceRecorder
from grulight.training.continuing import ended_epoch


def run(arguments: list[str]) -> None:
    """Train, test, and say where every file went; from several seeds, if asked to."""
    silence_expected_warnings()
    cli = FitCLI(arguments, open_console())
    if cli.config["seeds"] == 1:
        run_once(cli)
    else:
        _run_seeds(cli, arguments)


def _run_seeds(cli: FitCLI, arguments: list[str]) -> None:
    """Train from each seed in a run of its own, below one directory, and compare their tests."""
    require_seeds(cli.config, cli.datamodule.parts.test)
    first, count = cli.config["seed_everything"], cli.config["seeds"]
    directory = None
    if cli.config["ckpt_path"] is None and cli.trainer.world_size == 1:
        directory = cli.make_run_directory()
    if directory is None:
        raise InputError(
            "--seeds: trains afresh, in one process, with grulight's own loggers. Leave out "
            "--ckpt_path, --trainer.devices, --trainer.logger and --trainer.fast_dev_run."
        )
    found: dict[int, dict[str, float]] = {}
    members = []
    for seed in range(first, first + count):
        options = ("--seeds=1", f"--seed_everything={seed}")
        one = FitCLI(
            [*arguments, *options, f"--trainer.default_root_dir={directory}"], Console(quiet=True)
        )
        found[seed] = run_once(one)
        one.model.trainer = None  # which holds the data
        members.append(one.model)
        cli.console.print(terminal.seed_line(seed, found[seed]), highlight=False)
        write_seeds(directory, found)
    together = _tested(cli, Ensemble(members, list(found)))
    cli.console.print(terminal.spread_table(found, together))
    if cli.trainer.checkpoint_callbacks:
        show_lines([f"`grulight predict --ckpt_path {directory}` averages them"], cli.console)


def _tested(cli: FitCLI, ensemble: Ensemble) -> dict[str, float]:
    """Return what the test measures of the mean of some models' predictions."""
    with one_line_errors():
        cli.trainer.test(ensemble, datamodule=cli.datamodule, verbose=False)
    return metrics_of(cli.trainer)


def require_seeds(config: Namespace, test: Sequences) -> None:
    """Check that several seeds can be trained from and compared.

    Raises:
        InputError: They cannot.
    """
    first, count = config["seed_everything"], config["seeds"]
    if count < 1:
        raise InputError(f"--seeds {count}: expected at least 1.")
    if not isinstance(first, int) or isinstance(first, bool):
        raise InputError("--seeds: needs --seed_everything, the first of them.")
    if not len(test):
        raise InputError("--seeds: compares tests; leave a test part with --data.train_size.")


def run_once(cli: FitCLI) -> dict[str, float]:
    """Train, test, and say where every file went; return what the test measured."""
    require_output(cli.trainer)
    measured: dict[str, float] = {}
    show_lines(cli.datamodule.notes, cli.console)
    if cli.ckpt_path is None:  # else they are not what the training begins with
        show_lines(cli.model.notes, cli.console)
    _say_what_keras_did(cli)
    say_padding_is_read(cli.model, cli.datamodule.parts, cli.console)
    with cli.run_directory():
        _train(cli)
        which = _take_best(cli)
        if len(cli.datamodule.parts.test):
            cli.console.print(which, markup=False, highlight=False, soft_wrap=True)
            test_and_show(cli.trainer, cli.model, cli.datamodule, cli.console)
            measured = metrics_of(cli.trainer)
        try:
            _write_page(cli)
        finally:  # whatever becomes of the page, the run is there
            show_files(cli.trainer, cli.console)
    return {name: value for name, value in measured.items() if name.startswith("test_")}


def _say_what_keras_did(cli: FitCLI) -> None:
    network = cli.model.network
    if isinstance(network, PortedNetwork):
        named = cli.config.get("optimizer") is not None
        lines = (
            taken_over(network.model, own_optimizer=named),
            not_taken_over(network.model, own_optimizer=named),
            state_not_kept(network.model.table),
        )
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


def _take_best(cli: FitCLI) -> str:
    """Let the model have its best weights, where something chose them; say which it has."""
    if (stopped := stopped_words(cli.trainer)) is not None:
        cli.console.print(stopped, markup=False, highlight=False, soft_wrap=True)
    end = f"after epoch {cli.trainer.current_epoch}"
    savers = [c for c in cli.trainer.checkpoint_callbacks if isinstance(c, RunCheckpoint)]
    if not savers:
        return f"tested: the weights {end}; no checkpoints were written"
    [saver] = savers
    if saver.best_path is None:
        why = "nothing chose" if saver.chooses else "with --data.val_size it would be"
        return f"tested: last.ckpt, {end}; {why} the best one"
    best = read_checkpoint(saver.best_path)
    cli.model.load_state_dict(best["state_dict"])
    extreme = "highest" if saver.maximizes else "lowest"
    return (
        f"tested: best.ckpt, after epoch {best['epoch'] + 1} of {cli.trainer.current_epoch}: its "
        f"{saver.metric} {fitted(saver.best)} is the {extreme}"
    )


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
