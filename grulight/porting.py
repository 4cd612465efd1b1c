"""``grulight port``: a Keras model file becomes a checkpoint."""

import argparse
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from grulight.errors import InputError, one_line
from grulight.files import written_whole
from grulight.keras_files.port import PortedModel, load_keras
from grulight.keras_files.ported import PortedNetwork
from grulight.task import FORMAT, GRUClassifier


def port(arguments: list[str]) -> None:
    """Write the checkpoint and print what became of every layer.

    Raises:
        InputError: The file cannot be ported, or the names do not fit it.
    """
    options = _parser().parse_args(arguments)
    model = load_keras(options.model, config=options.config, up_to=options.up_to)
    console = Console()
    console.print(layer_table(model))
    for each in model.ignored:
        console.print(f"ignored: {escape(one_line(each))}")
    names = (options.class_names, options.feature_names)
    only_python = write_checkpoint(model, options.output, *names)
    output = escape(one_line(options.output))
    console.print(f"{output}: needs neither {escape(one_line(options.model))} nor TensorFlow")
    if only_python:
        console.print(f"{output}: {escape(one_line(only_python))}")
    else:
        console.print(f"answers with {PortedNetwork(model).head.words}")


def write_checkpoint(
    model: PortedModel,
    path: str | Path,
    class_names: list[str] | None = None,
    feature_names: list[str] | None = None,
) -> str | None:
    """Write a ported model as a checkpoint that ``grulight.load_keras`` reads.

    Returns:
        None where ``grulight test``, ``predict`` and the others take it too; else why not: the
        model does not go from one sequence to its answers.

    Raises:
        InputError: The names do not fit the model, or the file cannot be written.
    """
    try:
        network = PortedNetwork(model)
    except InputError as reason:
        if class_names or feature_names:
            raise
        held = {"keras_model": dict(model.description), "why_python_only": str(reason)}
        _write(path, held | {"state_dict": model.state_dict()})
        return str(reason)
    head = network.head
    sizes = {"class_names": head.num_names, "feature_names": network.input_size}
    for option, names in (("class_names", class_names), ("feature_names", feature_names)):
        if names is not None and len(names) != sizes[option]:
            raise InputError(f"{option}: got {len(names)} names, expected {sizes[option]}.")
    classifier = GRUClassifier(
        network.input_size,
        head.num_classes,
        num_values=0 if head.num_classes else head.size,
        per_step=head.per_step,
        class_names=class_names,
        feature_names=feature_names,
        from_keras=dict(network.description),
    )
    classifier.network.load_state_dict(network.state_dict())
    held = {"hyper_parameters": dict(classifier.hparams), "state_dict": classifier.state_dict()}
    _write(path, held)
    return None


def _write(path: str | Path, held: dict[str, Any]) -> None:
    with written_whole(path) as temporary:
        torch.save({"grulight_format": FORMAT, **held}, temporary)


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="grulight port",
        description="Turn a Keras model file into a checkpoint; nothing in the file is run.",
    )
    parser.add_argument("model", help=".keras, .h5, .hdf5 or .weights.h5; the content decides")
    parser.add_argument("-o", "--output", required=True, help="checkpoint to write")
    parser.add_argument("--config", help="the model's JSON, for a file of weights alone")
    parser.add_argument("--up-to", help="port the model up to this layer")
    parser.add_argument(
        "--class-names", nargs="+", help="what each class, label or value is called"
    )
    parser.add_argument("--feature-names", nargs="+", help="what each feature is called")
    return parser
