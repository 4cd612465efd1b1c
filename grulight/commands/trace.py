"""``grulight trace``: a checkpoint as a page to look at."""

from pathlib import Path

from grulight.commands.option_errors import OneLineParser
from grulight.errors import InputError, one_line
from grulight.files import require_apart
from grulight.trace.page import write_page
from grulight.trace.past_run import load_run


def run(arguments: list[str]) -> None:
    """Write the page of a checkpoint and say where it is.

    Raises:
        InputError: The checkpoint or its data cannot be read, or the page cannot be written.
    """
    options = _parser().parse_args(arguments)
    output = Path(options.output)
    if output.is_dir():
        raise InputError(f"{output}: is a directory, expected the name of a file.")
    require_apart(output, options.checkpoint, options.data)
    found = load_run(Path(options.checkpoint), options.data)
    for line in found.notes:
        print(one_line(line))
    write_page(
        output,
        found.classifier,
        found.parts,
        found.epochs,
        name=options.checkpoint,
        sequence=options.sequence,
    )
    print(f"{one_line(output)}: {output.stat().st_size:,} bytes; open it in a browser")


def _parser() -> OneLineParser:
    parser = OneLineParser(
        prog="grulight trace",
        description="Show a checkpoint's pipeline, training and answers on one page.",
    )
    parser.add_argument("checkpoint", help="checkpoint of `grulight fit` or `grulight port`")
    parser.add_argument("--sequence", metavar="N", help="also show the sequence with this id")
    parser.add_argument("--data", metavar="SOURCE", help="sequences, as --data.source of `fit`")
    parser.add_argument("-o", "--output", default="trace.html", help="page to write (%(default)s)")
    return parser
