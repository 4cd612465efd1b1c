"""``grulight port``: a Keras model file becomes a checkpoint."""

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from grulight.commands.console import open_console
from grulight.commands.lightning_messages import silence_expected_warnings
from grulight.commands.option_errors import OneLineParser
from grulight.errors import one_line, options_called
from grulight.files import require_apart
from grulight.keras_files.compiled_words import not_taken_over, other_loss, taken_over
from grulight.keras_files.layer_report import state_not_kept
from grulight.keras_files.port import load_keras
from grulight.keras_files.ported_model import PortedModel
from grulight.keras_files.ported_network import PortedNetwork
from grulight.keras_files.reader.untrusted_text import quote
from grulight.runs.ported_checkpoint import write_checkpoint

MOST_IDS = 8  # that are shown


def run(arguments: list[str]) -> None:
    """Write the checkpoint and print what became of every layer.

    Raises:
        InputError: The file cannot be ported, or the names do not fit it.
    """
    options = _parser().parse_args(arguments)
    require_apart(options.output, options.model, options.config)
    silence_expected_warnings()
    with options_called({"config": "--config", "up_to": "--up-to"}):
        model = load_keras(options.model, config=options.config, up_to=options.up_to)
    console = open_console()
    console.print(layer_table(model))
    for each in model.ignored:
        if "compiled" in model.description and each.endswith(" but for its loss"):
            continue  # the lines below say more
        console.print(f"ignored: {escape(one_line(each))}")
    said = (taken_over(model), not_taken_over(model), state_not_kept(model.table))
    for line in (*_ids_in_words(model), *said):
        if line is not None:
            console.print(escape(line))
    names = (options.class_names, options.feature_names)
    with options_called({"class_names": "--class-names", "feature_names": "--feature-names"}):
        only_python = write_checkpoint(model, options.output, *names)
    output = escape(one_line(options.output))
    console.print(f"{output}: needs neither {escape(one_line(options.model))} nor TensorFlow")
    if only_python:
        console.print(f"{output}: {escape(one_line(only_python))}")
    else:
        network = PortedNetwork(model)
        console.print(f"answers with {network.head.words}")
        if (line := other_loss(network)) is not None:
            console.print(escape(line))


def _ids_in_words(model: PortedModel) -> Iterator[str]:
    """Say what the first ids stand for, where the file had words for them."""
    for name, words in model.id_names.items():
        first = ", ".join(f"{at} {quote(word)}" for at, word in enumerate(words[:MOST_IDS]))
        more = f", … {len(words):,} in all: load_keras(…).id_names" if words[MOST_IDS:] else ""
        yield one_line(f"ids of {quote(name)}: {first}{more}")


def layer_table(model: PortedModel) -> Table:
    """Return what became of every layer, as a table."""
    table = Table("layer", "Keras", "torch", "output", "parameters", "ignored", box=None)
    for row in model.table:
        shapes = ", ".join(_shape(shape) for shape in row.output_shapes)
        words = (row.name, row.keras, row.torch, shapes, f"{row.parameters:,}")
        lines = (one_line(each) for each in (*words, ", ".join(row.ignored)))
        table.add_row(*map(escape, lines))
    return table


def _shape(shape: tuple[int | None, ...]) -> str:
    return " × ".join("any" if size is None else str(size) for size in shape)


def _parser() -> OneLineParser:
    parser = OneLineParser(
        prog="grulight port",
        description="Turn a Keras model file into a checkpoint; nothing in the file is run.",
    )
    parser.add_argument(
        "model",
        help=".keras, .h5, weights, a SavedModel, a checkpoint's prefix, or a model's folder or "
        "model.json; the content decides",
    )
    parser.add_argument("-o", "--output", required=True, help="checkpoint to write")
    parser.add_argument("--config", help="the model's JSON, for a file of weights alone")
    parser.add_argument(
        "--up-to", help="port the model up to this layer, outer/inner in a model inside"
    )
    parser.add_argument(
        "--class-names", nargs="+", help="what each class, label or value is called"
    )
    parser.add_argument("--feature-names", nargs="+", help="what each feature is called")
    return parser
