"""What a user should know of how sequences were read, beyond what the readers say of a file."""

from collections.abc import Sequence

import numpy as np

from grulight.data.sequences import Sequences

_WIDER = 4  # times as many features as steps: channels first, or a wide table
_SHOWN = 5  # classes


def shape_notes(sequences: Sequences) -> tuple[str, ...]:
    """Return a line where the axes may be meant otherwise than they were read."""
    count, steps, features = sequences.values.shape
    read = f"{sequences.source}: is read as {count:,} sequences × {steps:,} steps"
    read += f" × {features:,} features"
    if features > 1 and (sequences.lengths == 1).all():
        return (
            f"{read}: every sequence has one step. A table has a row per step; one whose columns "
            "are the steps becomes (sequences, steps, features) in an .npz first.",
        )
    if steps > 1 and features >= _WIDER * steps:
        return (
            f"{read}. Where the axes are (sequences, features, steps), swap the last two first: "
            "x.transpose(0, 2, 1).",
        )
    return ()


def offset_notes(sequences: Sequences) -> tuple[str, ...]:
    """Return a line that says what was subtracted before float32 rounded it."""
    pairs = zip(sequences.feature_names, sequences.offset or (), strict=False)
    found = [(name, each) for name, each in pairs if each]
    if not found:
        return ()
    more = f" ({len(found)} such features)" if len(found) > 1 else ""
    name, first = found[0]
    return (
        f"{sequences.source}: {first:.12g} is subtracted from feature {name!r}{more} before it is "
        "rounded to float32, which could not tell its values apart.",
    )


def class_notes(train: Sequences, others: Sequence[tuple[str, Sequences]]) -> tuple[str, ...]:
    """Return a line for each part that lacks classes of the training part.

    Args:
        train: The training part.
        others: Names of other parts, and those with the same classes.
    """
    found = []
    for name, part in others:
        if not len(part) or part.labels is None:
            continue
        present = part.present_classes()
        lacks = [each for each in train.present_classes() if each not in present]
        if lacks:
            shown = ", ".join(map(repr, lacks[:_SHOWN])) + (" …" if len(lacks) > _SHOWN else "")
            found.append(
                f"{part.source}: the {name} part has no sequence of {len(lacks)} of the "
                f"{len(lacks) + len(present)} classes ({shown}){_why(train, part)}."
            )
    return tuple(found)


def _why(train: Sequences, part: Sequences) -> str:
    if train.source != part.source or train.labels is None or part.labels is None:
        return ""
    if train.per_step:
        return "; the split is by position"
    labels = np.concatenate([train.labels, part.labels])
    ordered = bool((np.diff(labels) >= 0).all())
    return (
        "; the split is by position, and the sequences are sorted by class: shuffle them first"
        if ordered
        else "; the split is by position"
    )
