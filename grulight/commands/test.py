"""``grulight test``: a checkpoint measured on the test part."""

from grulight.commands.checkpoint_cli import CheckpointCLI
from grulight.commands.console import open_console
from grulight.commands.lightning_messages import silence_expected_warnings
from grulight.commands.running import (
    require_output,
    say_other_loss,
    show_files,
    test_and_show,
)
from grulight.errors import InputError


def run(arguments: list[str]) -> None:
    """Measure a checkpoint on the test part: scores; for classes the confusion matrix, pictured."""
    silence_expected_warnings()
    cli = CheckpointCLI("test", arguments, open_console())
    if not len(cli.datamodule.parts.test):
        raise InputError("there is no test part; set --data.train_size below 1.")
    cli.require_features(cli.datamodule.parts.test)
    require_output(cli.trainer)
    cli.show_notes(cli.datamodule.parts)
    cli.make_run_directory()
    say_other_loss(cli.classifier, cli.console)
    test_and_show(cli.trainer, cli.measured, cli.datamodule, cli.console)
    show_files(cli.trainer, cli.console)
