"""``grulight pack``: a source of any size becomes a directory that training reads from disk."""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from grulight.commands.console import open_console
from grulight.commands.option_errors import OneLineParser
from grulight.data.readers import ReadOptions
from grulight.data.readers.memory import memory_errors
from grulight.data.readers.pack_writer import PackWriter, directory_written_whole
from grulight.data.readers.packed import read_packed
from grulight.data.readers.streaming import stream
from grulight.data.readers.table_columns import TableLayout
from grulight.data.readers.targets import Kind, Wish
from grulight.data.sequences import Sequences
from grulight.data.statistics import are_labels
from grulight.errors import InputError, one_line, options_called

# options of `fit` that pack has as well; those that it lacks are for what reads the directory
_OWN = (
    *("label", "sequence", "time", "features", "labels_file", "lengths_file", "targets"),
    *("per_step", "separator", "decimal", "encoding", "layout", "steps"),
)


def run(arguments: list[str]) -> None:
    """Write the directory, whole or not at all, and print what is in it.

    Raises:
        InputError: The source cannot be read or fails a check, or the directory cannot be written.
    """
    options = _parser().parse_args(arguments)
    with options_called({f"data.{name}": f"--{name.replace('_', '-')}" for name in _OWN}):
        _pack(options)


def _pack(options: argparse.Namespace) -> None:
    console = open_console()
    wanted = ReadOptions(
        part=options.part,
        label=options.label,
        sequence=options.sequence,
        time=options.time,
        features=tuple(options.features) if options.features else None,
        labels_file=options.labels_file,
        lengths_file=options.lengths_file,
        require_labels=not options.unlabelled,
        targets=Wish(options.targets, options.per_step),
        separator=options.separator,
        decimal=options.decimal,
        encoding=options.encoding,
        layout=options.layout,
        steps=options.steps,
        missing=options.missing,
    )
    packed(options.source, options.output, wanted, console)
    written = read_packed(
        options.output, require_labels=wanted.require_labels, missing=options.missing
    )
    count, steps, width = written.values.shape
    output = one_line(options.output)
    console.print(
        f"{output}: {count} sequences of up to {steps} steps × {width} features, "
        f"{_labels(written, options.targets)}. Use it with --data.source {output}",
        markup=False,
        soft_wrap=True,
    )


def _labels(sequences: Sequences, kind: Kind) -> str:
    """Return the labels in words."""
    per_step = " per step" if sequences.per_step else ""
    if sequences.has_values:
        word = "label" if are_labels(sequences, kind) else "value"
        return f"{sequences.num_values} {word}{'s' * (sequences.num_values > 1)}{per_step}"
    if sequences.labels is None:
        return "no classes"
    return f"{len(sequences.class_names)} classes{per_step}"


def packed(
    source: str, output: str | Path, options: ReadOptions, console: Console
) -> dict[str, Any]:
    """Pack a source into a new directory with a progress bar; return the index.

    Raises:
        InputError: As ``pack``.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    silent = not console.is_terminal
    try:
        with (
            memory_errors(source),
            directory_written_whole(output) as directory,
            # within, where a kill cannot leave it behind alone
            tempfile.TemporaryDirectory(dir=directory, prefix=".scratch-") as scratch,
            Progress(*columns, console=console, transient=True, disable=silent) as bar,
            PackWriter(directory) as writer,
        ):
            task = bar.add_task(f"packing {escape(one_line(source))}", total=None)
            blocks = stream(
                source,
                replace(options, scratch=scratch),
                lambda share: bar.update(task, total=1, completed=share),
            )
            for block in blocks:
                writer.add(block)
            index = writer.finish(blocks)
    except OSError as error:
        raise InputError(
            f"{output}: packing {source} stopped ({error.strerror or error}); nothing is left."
        ) from error
    for line in blocks.notes:
        console.print(one_line(line), markup=False, highlight=False, soft_wrap=True)
    return index


def _parser() -> OneLineParser:
    parser = OneLineParser(
        prog="grulight pack",
        description="Write sequences as a directory of .npy files that training reads from disk, "
        "in constant memory. In a table, the rows of a sequence must follow each other.",
    )
    parser.add_argument("source", help="what --data.source takes: .csv, .parquet, .npz, .npy, ...")
    parser.add_argument("-o", "--output", required=True, help="directory to write")
    parser.add_argument("--label", default="label", help="label column of a table")
    parser.add_argument("--sequence", default="sequence", help="sequence column of a table")
    parser.add_argument("--time", default="time", help="time column of a table, if there is one")
    parser.add_argument("--features", nargs="+", help="feature columns (default: all others)")
    parser.add_argument("--labels-file", help="labels (.npy) of a .npy source")
    parser.add_argument("--lengths-file", help="sequence lengths (.npy) of a .npy source")
    parser.add_argument(
        "--part", choices=("train", "test"), default="train", help="part of an aeon:NAME source"
    )
    parser.add_argument(
        "--targets",
        choices=get_args(Kind),
        default="auto",
        help="what labels are (default: auto, as --data.targets tells them apart)",
    )
    parser.add_argument(
        "--per-step",
        action=argparse.BooleanOptionalAction,
        help="labels of steps or of sequences (default: by the shape of an array; a table has one "
        "for each sequence)",
    )
    parser.add_argument("--separator", help="sign between cells of text, such as ; or tab")
    parser.add_argument("--decimal", choices=(".", ","), help="decimal sign of text")
    parser.add_argument("--encoding", help="of text that is not UTF-8, such as cp1252")
    parser.add_argument(
        "--layout",
        choices=get_args(TableLayout),
        default="long",
        help="whether a row of a table is a time step (long) or a sequence (wide)",
    )
    parser.add_argument("--steps", help="columns of a wide table, such as {feature}_{step}")
    parser.add_argument(
        "--missing",
        action="store_true",
        help="let values be missing; --data.missing then fills them when they are read",
    )
    parser.add_argument("--unlabelled", action="store_true", help="pack without labels")
    return parser
