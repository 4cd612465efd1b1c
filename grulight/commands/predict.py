"""``grulight predict``: a table of what a checkpoint answers for every sequence."""

from pathlib import Path

from grulight.commands.checkpoint_cli import CheckpointCLI
from grulight.commands.console import open_console
from grulight.commands.lightning_messages import one_line_errors, silence_expected_warnings
from grulight.errors import InputError, one_line
from grulight.files import require_apart, require_writable
from grulight.runs.prediction_table import PredictionWriter
from grulight.runs.table_file import require_table_suffix, written_table

_AT_ONCE = 256  # sequences of a prediction


def run(arguments: list[str]) -> None:
    """Answer for every sequence of a source and write the table."""
    silence_expected_warnings()
    # larger batches than training's are quicker; what the user says comes later and counts
    cli = CheckpointCLI("predict", [f"--data.batch_size={_AT_ONCE}", *arguments], open_console())
    output = Path(cli.config["output"])
    safe = cli.config["spreadsheet_safe"]
    require_table_suffix(output, spreadsheet_safe=safe)
    data, read = cli.config["data"], ("source", "test_source", "labels_file", "lengths_file")
    require_apart(output, cli.config["ckpt_path"], *(data[name] for name in read))
    parts = cli.datamodule.unlabelled
    cli.require_features(parts[0])
    require_writable(output.parent)
    cli.show_notes(parts)
    with written_table(output, spreadsheet_safe=safe) as table, one_line_errors():
        writer = PredictionWriter(table, parts)
        cli.trainer.callbacks.append(writer)  # type: ignore[attr-defined]  # set by a connector
        cli.datamodule.whole = cli.classifier.network.reads_padding
        batches = [cli.datamodule.batches(part) for part in parts]
        cli.trainer.predict(cli.measured, batches, return_predictions=False)
        if not writer.complete:
            raise InputError(
                "predict answers for every sequence; leave out --trainer.fast_dev_run and "
                "--trainer.limit_predict_batches."
            )
    count = sum(map(len, parts))
    speed = f"{writer.seconds:.1f} s ({count / writer.seconds:,.0f} sequences/s)"
    done = "labelled" if cli.classifier.head.num_classes else "answered for"
    line = f"{count} sequences {done} in {speed}: {one_line(output)}"
    cli.console.print(line, markup=False, highlight=False, soft_wrap=True)
