"""``grulight validate``: a checkpoint measured on the validation part."""

from grulight.commands.checkpoint_cli import CheckpointCLI
from grulight.commands.console import open_console
from grulight.commands.lightning_messages import one_line_errors, silence_expected_warnings
from grulight.commands.running import (
    metrics_of,
    require_output,
    say_left_out,
    say_other_loss,
    show_files,
)
from grulight.errors import InputError
from grulight.trace import terminal


def run(arguments: list[str]) -> None:
    """Measure a checkpoint on the validation part."""
    silence_expected_warnings()
    cli = CheckpointCLI("validate", arguments, open_console())
    if not len(cli.datamodule.parts.val):
        raise InputError("there is no validation part; set --data.val_size, such as 0.1.")
    cli.require_features(cli.datamodule.parts.val)
    require_output(cli.trainer)
    cli.show_notes(cli.datamodule.parts)
    cli.make_run_directory()
    with one_line_errors():
        cli.trainer.validate(cli.measured, datamodule=cli.datamodule, verbose=False)
    say_other_loss(cli.classifier, cli.console)
    cli.console.print(terminal.score_table("validation", metrics_of(cli.trainer)))
    say_left_out(cli.measured.val_scores, cli.measured, cli.console)
    show_files(cli.trainer, cli.console)
