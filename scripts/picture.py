"""Draw one test sequence on its way through a run's GRU: gates, hidden state and answer.

python scripts/picture.py lightning_logs/version_0/checkpoints/last.ckpt -o scripts/gates.png
"""

import argparse
import io
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from grulight.errors import InputError
from grulight.files import written_whole
from grulight.model import GRUNet
from grulight.trace.class_answers import ClassAnswers
from grulight.trace.gates import Walk, walk
from grulight.trace.inference import ask
from grulight.trace.past_run import Run, load_run

# one opaque card, so that it reads the same on a light and on a dark page
CARD, INK, FAINT = "#f6f8fa", "#1f2328", "#656d76"
LINES = ("#0072b2", "#d55e00", "#008060", "#9a3f8f", "#8a6d00", "#4b5563")
MOST_STEPS = 100
STYLE = {
    "font.size": 13,
    "axes.titlesize": 13,
    "axes.edgecolor": FAINT,
    "axes.facecolor": CARD,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": CARD,
    "text.color": INK,
    "axes.labelcolor": FAINT,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the picture and say where it is; return 2 for bad input."""
    options = _parser().parse_args(arguments)
    try:
        run = load_run(options.checkpoint)
        position = chosen(run, options.sequence)
        draw(run, position, options.output)
    except InputError as error:
        print(f"picture: {error}", file=sys.stderr)
        return 2
    print(f"{options.output}: {options.output.stat().st_size:,} bytes")
    return 0


def chosen(run: Run, sequence: str | None) -> int:
    """Return the place of a test sequence: by its id, else the one whose answer was open longest.

    Raises:
        InputError: The run is none of a GRUNet of one layer that names classes, or has no such
            sequence.
    """
    network = run.classifier.network
    if not isinstance(network, GRUNet) or network.gru.num_layers > 1 or network.gru.bidirectional:
        raise InputError("expected a run of a GRU with one layer and one direction.")
    answers = ask(run.classifier, run.parts)
    if not isinstance(answers, ClassAnswers) or not len(run.parts.test):
        raise InputError("expected a run that names classes and has a test part.")
    if sequence is not None:
        found = np.flatnonzero(run.parts.test.ids == sequence)
        if not len(found):
            raise InputError(f"the test part has no sequence {sequence!r}.")
        return int(found[0])
    right = answers.positions[answers.right & (answers.confidence > 0.9)]
    return max(map(int, right), key=lambda position: _doubt(run, position), default=0)


def _doubt(run: Run, position: int) -> float:
    """Return how little probability the true class had over the steps."""
    seen = walk(run.classifier, run.parts.test, position, MOST_STEPS)
    label = int(run.parts.test.labels[position])
    return -float(probabilities(run, seen)[:, label].mean())


def probabilities(run: Run, seen: Walk) -> NDArray[np.floating]:
    """Return the probability of each class (K, C), had the sequence ended at each step."""
    return run.classifier.head.prediction(torch.tensor(seen.logits)).numpy()


def draw(run: Run, position: int, path: Path) -> None:
    """Write the picture of one test sequence."""
    part, names = run.parts.test, run.classifier.class_names
    seen = walk(run.classifier, part, position, MOST_STEPS)
    [layer] = seen.layers.values()
    order = np.argsort(layer["hidden"][-1])  # units that end alike stand together
    label, count = names[int(part.labels[position])], len(order)
    with rc_context(STYLE):
        figure = Figure(figsize=(11.2, 5.2), layout="constrained", dpi=110)
        figure.get_layout_engine().set(w_pad=0.09, h_pad=0.07)
        grid = figure.add_gridspec(2, 3, width_ratios=(1, 1, 1.25))
        bound = float(np.abs(seen.values).max())
        _map(
            figure, grid[0, 0], "what it reads: x", "feature", seen.values, "RdBu_r", -bound, bound
        )
        for where, name, colours, low in (
            (grid[0, 1], "reset gate r", "viridis", 0),
            (grid[1, 0], "update gate z", "viridis", 0),
            (grid[1, 1], "hidden state h", "RdBu_r", -1),
        ):
            array = layer[name.split()[0]][:, order]
            _map(figure, where, name, "unit", array, colours, low, 1)
        _answers(figure.add_subplot(grid[:, 2]), seen.steps + 1, probabilities(run, seen), names)
        figure.suptitle(
            f"A test sequence of class “{label}” in a GRU of {count} units, step by step",
            fontsize=15,
        )
        _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    """Write a PNG of 128 colours: a third of the bytes, and no difference to the eye."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    with written_whole(path) as temporary, Image.open(drawn) as image:
        image.convert("RGB").quantize(128).save(temporary, format="PNG", optimize=True)


def _map(
    figure: Figure,
    where: Any,
    title: str,
    rows: str,
    array: NDArray[np.floating],
    colours: str,
    low: float,
    high: float,
) -> None:
    """Draw an array (steps, rows) with time to the right."""
    axes = figure.add_subplot(where)
    steps, count = array.shape
    extent = (0.5, steps + 0.5, count + 0.5, 0.5)
    image = axes.imshow(array.T, colours, aspect="auto", vmin=low, vmax=high, extent=extent)
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_ylabel(rows)
    axes.set_yticks([1, count])
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    ticks = [low, (low + high) / 2, high]
    bar = figure.colorbar(image, ax=axes, ticks=ticks, pad=0.02)
    bar.ax.set_yticklabels([f"{tick:.2g}" for tick in ticks])
    bar.ax.tick_params(length=0)
    bar.outline.set_visible(False)


def _answers(
    axes: Any, steps: NDArray[np.int64], shares: NDArray[np.floating], names: Sequence[str]
) -> None:
    """Draw probabilities (K, C) over the steps (K,)."""
    heights = apart(shares[-1], 0.06)
    for label, name in enumerate(names):
        colour = LINES[label % len(LINES)]
        axes.plot(steps, shares[:, label], color=colour, linewidth=2.4, marker="o", markersize=5)
        text = f"{name} {shares[-1, label]:.2f}"
        place = (steps[-1] + 0.03 * len(steps), heights[label])
        axes.annotate(text, place, color=colour, fontweight="bold", va="center")
    axes.set_title("the answer after each step", loc="left", fontweight="bold")
    axes.set_ylabel("probability")
    axes.set_xlabel("time step")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_ylim(-0.03, 1.03)
    axes.grid(axis="y", color="#d0d7de", linewidth=0.8)
    axes.set_axisbelow(True)


def apart(heights: NDArray[np.floating], least: float) -> NDArray[np.floating]:
    """Return heights of which none is nearer than ``least`` to another, from the lowest up."""
    found = heights.copy()
    order = np.argsort(found)
    for below, above in pairwise(order):
        found[above] = max(found[above], found[below] + least)
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path, help="checkpoint of `grulight fit`")
    parser.add_argument("--sequence", metavar="ID", help="test sequence (default: a telling one)")
    parser.add_argument("-o", "--output", type=Path, default=Path("gates.png"), help="PNG to write")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
