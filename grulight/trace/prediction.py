"""The sequences that a page follows through the network, as plain values for its script."""

import base64
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from grulight.data.sequences import Sequences
from grulight.data.splitting import Parts
from grulight.errors import InputError
from grulight.model import GRUNet
from grulight.trace import commentary
from grulight.trace.answers import Answers, Choice, Floats
from grulight.trace.gates import Walk, walk
from grulight.trace.layers import id_words, layer_name
from grulight.trace.stages import PARTS
from grulight.training.classifier import GRUClassifier

_MOST_NUMBERS = 400_000  # in all heat maps of a page; each weighs under 3 bytes
# rows and time steps of a heat map, from the most to the fewest
_SIZES = ((96, 384), (64, 256), (48, 192), (32, 128), (24, 96), (16, 64), (12, 24), (8, 16), (4, 8))

Json = dict[str, Any]


class Place(NamedTuple):
    """Where a sequence stands."""

    part: str
    position: int


class Limits(NamedTuple):
    """How many rows and time steps of each heat map a page of bounded weight can hold."""

    rows: int
    steps: int


def prediction(
    classifier: GRUClassifier, parts: Parts, answers: Answers, sequence: str | None = None
) -> tuple[Json, Json]:
    """Choose sequences and follow them.

    Returns:
        What the template says of them; what the script draws.

    Raises:
        InputError: There is no sequence with the id ``sequence``.
    """
    chosen = answers.choices()
    places = [Place(answers.name, int(answers.positions[each.position])) for each in chosen]
    if sequence is not None:
        chosen.insert(0, Choice("asked for", -1))
        places.insert(0, _find(parts, sequence))
    unique = list(dict.fromkeys(places))
    limits = _limits(classifier, answers, parts, unique)
    named = dict(zip(PARTS, parts, strict=True))
    walks = [walk(classifier, named[at.part], at.position, limits.steps) for at in unique]
    shown = [
        _sequence(classifier, answers, named[at.part], at, each, limits.rows)
        for at, each in zip(unique, walks, strict=True)
    ]
    listed = [
        (choice.why, unique.index(at), shown[unique.index(at)]["short"])
        for choice, at in zip(chosen, places, strict=True)
    ]
    layers = _layers(classifier, walks[0])
    said = {"choices": listed, "layers": layers, **_extent(classifier, walks, limits)}
    drawn = {
        "kind": answers.kind,
        "asked": said["asked"],
        "per_step": answers.per_step,
        "deviations": answers.deviations,
        "question": answers.question,
        "names": answers.names,
        "features": parts.train.feature_names[: limits.rows],
        "layers": layers,
        "sequences": shown,
    }
    return said, drawn


def _find(parts: Parts, sequence: str) -> Place:
    for name, part in reversed(list(zip(PARTS, parts, strict=True))):
        if len(found := np.flatnonzero(part.ids == sequence)):
            return Place(name, int(found[0]))
    some = next(part for part in reversed(parts) if len(part))
    raise InputError(
        f"{some.source}: has no sequence {sequence!r}; expected an id such as "
        f"{str(some.ids[0])!r} or {str(some.ids[-1])!r}."
    )


def _layers(classifier: GRUClassifier, first: Walk) -> list[Json]:
    network = classifier.network
    if not isinstance(network, GRUNet):
        return []
    last = f"l{network.gru.num_layers - 1}."
    return [
        {
            "name": layer_name(name, network),
            "backward": name.endswith("backward"),
            "top": name.startswith(last),
        }
        for name in first.layers
    ]


def _extent(classifier: GRUClassifier, walks: Sequence[Walk], limits: Limits) -> Json:
    """Say what is shown and what is left out."""
    network = classifier.network
    hidden = network.gru.hidden_size if isinstance(network, GRUNet) else 0
    return {
        "rows": limits.rows,
        "hidden": hidden,
        "bidirectional": isinstance(network, GRUNet) and network.gru.bidirectional,
        "features": walks[0].features,
        "thinned": any(len(each.steps) < each.steps[-1] + 1 for each in walks),
        # some models can be asked about the beginnings of some sequences only
        "asked": "whole" if any(each.asked == "whole" for each in walks) else walks[0].asked,
        "ids": getattr(network, "num_ids", None) is not None,
        "standardized": classifier.mean is not None,
        "one_logit": classifier.head.num_classes == 2 and classifier.head.size == 1,
    }


def _limits(
    classifier: GRUClassifier, answers: Answers, parts: Parts, places: Sequence[Place]
) -> Limits:
    network = classifier.network
    units = maps = 0
    if isinstance(network, GRUNet):
        units = network.gru.hidden_size
        maps = 4 * network.gru.num_layers * (1 + network.gru.bidirectional)
    named = dict(zip(PARTS, parts, strict=True))
    lengths = [int(named[at.part].lengths[at.position]) for at in places]
    numbers, features = len(answers.names), len(parts.train.feature_names)
    for limits in map(Limits._make, _SIZES):
        width = 3 * numbers + min(features, limits.rows) + maps * min(units, limits.rows)
        if width * sum(min(length, limits.steps) for length in lengths) <= _MOST_NUMBERS:
            break
    return limits


def _sequence(
    classifier: GRUClassifier,
    answers: Answers,
    part: Sequences,
    at: Place,
    seen: Walk,
    rows: int,
) -> Json:
    head, network = classifier.head, classifier.network
    shown = head.prediction(torch.tensor(seen.logits)).numpy()
    assert part.labels is not None
    label = part.labels[at.position]
    truth = answers.truth(label[seen.answered] if head.per_step else np.asarray(label)[None])
    why = answers.tells(shown, truth, seen.answered)
    summary = seen.summary if head.num_classes and not head.per_step else None
    if isinstance(network, GRUNet) and summary is not None:
        why += f" {commentary.loudest_units(network, summary, shown[-1], answers.names)}"
    sequence = {
        "title": f"{at.part.capitalize()} sequence {part.ids[at.position]}",
        "short": answers.short(shown, truth),
        "why": why,
        "steps": (seen.steps + 1).tolist(),
        "answered": (seen.answered + 1).tolist(),
        "input": packed(seen.values[:, :rows]),
        "answers": packed(shown),
        "truth": packed(truth),
        "layers": [
            {kind: packed(array[:, :rows]) for kind, array in layer.items()}
            for layer in seen.layers.values()
        ],
    }
    if words := id_words(network, seen.values[:, 0]):
        sequence["words"] = words
    return sequence | ({"logits": packed(_logits(seen))} if head.num_classes else {})


def _logits(seen: Walk) -> Floats:
    """Return the logits of all classes: a single one stands against an implied zero."""
    if seen.logits.shape[1] > 1:
        return seen.logits
    return np.concatenate([np.zeros_like(seen.logits), seen.logits], axis=1)


def packed(array: NDArray[np.floating]) -> Json:
    """Pack an array (K, R) in 2 bytes a number, exact to 1/65535 of its range."""
    low, high = float(array.min()), float(array.max())
    whole = np.round((array - low) / ((high - low) or 1.0) * 65535).astype("<u2")
    text = base64.b64encode(whole.tobytes()).decode()
    return {"low": low, "high": high, "rows": array.shape[1], "data": text}
