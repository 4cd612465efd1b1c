"""``grulight export``: a checkpoint as a file for other programs, verified before it is there."""

from rich.markup import escape
from rich.table import Table

from grulight.commands.console import open_console
from grulight.commands.lightning_messages import silence_expected_warnings
from grulight.commands.option_errors import OneLineParser
from grulight.errors import one_line
from grulight.exporting.export import Export, export
from grulight.files import require_apart

LENGTHS = "also take the lengths of padded sequences, in .onnx and .pt2"


def run(arguments: list[str]) -> None:
    """Export a checkpoint and print what was verified.

    Raises:
        InputError: See :func:`grulight.exporting.export.export`.
    """
    options = _parser().parse_args(arguments)
    require_apart(options.output, options.checkpoint)
    silence_expected_warnings()
    done = export(options.checkpoint, options.output, lengths=options.lengths)
    console = open_console()
    console.print(export_table(done))
    if done.left_out is not None:
        console.print(escape(one_line(done.left_out)))


def export_table(done: Export) -> Table:
    """Return what was written and verified, as a table."""
    verdict = done.verdict
    batches = ", ".join(f"{count} × {steps}" for count, steps in verdict.sizes)
    table = Table("exported", escape(str(done.path)), box=None, pad_edge=False)
    rows = done.signature | {
        "operators": done.written.contents,
        "size": f"{done.size:,} bytes",
        "opened by": done.written.opened,
        "verified on": f"{verdict.sequences} sequences, in batches of {batches} steps",
        "and at the edge": "; ".join(verdict.edges),
        "largest difference": f"{verdict.difference:.1e} (rounding explains {verdict.bound:.1e})",
    }
    for name, words in rows.items():
        table.add_row(name, escape(words))
    return table


def _parser() -> OneLineParser:
    parser = OneLineParser(
        prog="grulight export",
        description="Write a checkpoint of any model, also one with several inputs or outputs, for "
        "other programs; it is verified before it is there. A ported model keeps the names and "
        "answers of its Keras file.",
    )
    parser.add_argument("checkpoint", help="checkpoint of `grulight fit` or `grulight port`")
    parser.add_argument("-o", "--output", required=True, help="FILE.onnx, FILE.pt2 or FILE.keras")
    parser.add_argument("--lengths", action="store_true", help=LENGTHS)
    return parser
