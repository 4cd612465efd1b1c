"""``grulight port``: a Keras model file becomes a checkpoint."""

import argparse
from pathlib import Path

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from grulight.errors import InputError
from grulight.files import written_whole
from grulight.keras_files.classifier import PortedNetwork
from grulight.keras_files.port import PortedModel, load_keras
from grulight.task import FORMAT, GRUClassifier


def port(arguments: list[str]) -> None:
    """Write the checkpoint and print what became of every layer.

    Raises:
        InputError: The file cannot be ported, or is no classifier of sequences.
    """
    options = _parser().parse_args(arguments)
    model = load_keras(options.model, config=options.config, up_to=options.up_to)
    console = Console()
    console.print(layer_table(model))
    for each in model.ignored:
        console.print(f"ignored: {escape(each)}")
    write_checkpoint(model, options.output, options.class_names, options.feature_names)
    console.print(f"{escape(options.output)}: needs neither {escape(options.model)} nor TensorFlow")


def write_checkpoint(
    model: PortedModel,
    path: str | Path,
    class_names: list[str] | None = None,
    feature_names: list[str] | None = None,
) -> None:
    """Write a ported classifier as a checkpoint that ``grulight test`` and ``predict`` take.

    Raises:
        InputError: The model is no classifier of sequences, the names do not fit it, or the file
            cannot be written.
    """
    network = PortedNetwork(model)
    sizes = {"class_names": network.num_classes, "feature_names": network.input_size}
    for option, names in (("class_names", class_names), ("feature_names", feature_names)):
        if names is not None and len(names) != sizes[option]:
            raise InputError(f"{option}: got {len(names)} names, expected {sizes[option]}.")
    classifier = GRUClassifier(
        network.input_size,
        network.num_classes,
        class_names=class_names,
        feature_names=feature_names,
        from_keras=dict(network.description),
    )
    classifier.network.load_state_dict(network.state_dict())
    checkpoint = {
        "grulight_format": FORMAT,
        "hyper_parameters": dict(classifier.hparams),
        "state_dict": classifier.state_dict(),
    }
    with written_whole(path) as temporary:
        torch.save(checkpoint, temporary)


def layer_table(model: PortedModel) -> Table:
    """Return what became of every layer, as a table."""
    table = Table("layer", "Keras", "torch", "output", "parameters", "ignored", box=None)
    for row in model.table:
        shapes = ", ".join(_shape(shape) for shape in row.output_shapes)
        words = (row.name, row.keras, row.torch, shapes, f"{row.parameters:,}")
        table.add_row(*map(escape, words), escape(", ".join(row.ignored)))
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
    parser.add_argument("--class-names", nargs="+", help="what each class is called")
    parser.add_argument("--feature-names", nargs="+", help="what each feature is called")
    return parser
