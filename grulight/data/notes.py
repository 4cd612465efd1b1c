"""What a user should know of how sequences were read, beyond what the readers say of a file."""

from collections.abc import Sequence

import numpy as np

from grulight.data.sequences import Sequences
from grulight.errors import option

_WIDER = 4  # times as many features as steps: channels first, or a wide table
_SHOWN = 5  # classes
Named = tuple[str, Sequences]


def shape_notes(sequences: Sequences) -> tuple[str, ...]:
    """Return a line where the axes may be meant otherwise than they were read."""
    count, steps, features = sequences.values.shape
    read = f"{sequences.source}: is read as {count:,} sequences × {steps:,} steps"
    read += f" × {features:,} features"
    if features > 1 and (sequences.lengths == 1).all():
        return (
            f"{read}: every sequence has one step. Where a table's row is a sequence and its "
            f"columns are steps, say {option('data.layout', 'wide')}; an array is (sequences, "
            "steps, features).",
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


def class_notes(named: Sequence[Named], all_parts: Sequence[Sequences], by: str) -> tuple[str, ...]:
    """Return a line for each part that lacks classes of others.

    Args:
        named: Parts and what they are called.
        all_parts: All there are, with the same classes.
        by: How they were split.
    """
    classes = all_parts[0].class_names
    present = {each for part in all_parts for each in part.present_classes()}
    found = []
    for name, part in named:
        if not len(part) or part.labels is None:
            continue
        here = part.present_classes()
        lacks = [each for each in classes if each in present and each not in here]
        if lacks:
            shown = ", ".join(map(repr, lacks[:_SHOWN])) + (" …" if len(lacks) > _SHOWN else "")
            found.append(
                f"{part.source}: the {name} part has no sequence of {len(lacks)} of the "
                f"{len(present)} classes ({shown}){_why(part, all_parts, by)}."
            )
    return tuple(found)


def _why(part: Sequences, all_parts: Sequence[Sequences], by: str) -> str:
    others = [each for each in all_parts if len(each)]
    if by != "positional" or len({each.source for each in others}) > 1:
        return ""
    if part.per_step:
        return "; the split is by position"
    ordered = _follow_each_other(others)
    return (
        f"; the split is by position{', and the sequences are sorted by class' if ordered else ''}:"
        f" {option('data.split', 'stratified')} gives each part its share"
    )


def _follow_each_other(parts: Sequence[Sequences]) -> bool:
    """Return whether the sequences of each class follow each other."""
    labels = np.concatenate([each.labels for each in parts if each.labels is not None])
    runs = np.count_nonzero(np.diff(labels)) + 1
    return bool(runs == len(np.unique(labels)))


def alike_notes(sequences: Sequences) -> tuple[str, ...]:
    """Return a line where classes differ in case or spaces alone: one may be misspelt."""
    plain: dict[str, list[str]] = {}
    for name in sequences.class_names:
        plain.setdefault("".join(name.casefold().split()), []).append(name)
    alike = next((names for names in plain.values() if len(names) > 1), None)
    if alike is None:
        return ()
    shown = " and ".join(map(repr, alike[:_SHOWN]))
    return (f"{sequences.source}: the classes {shown} differ in case or spaces alone.",)


def _is_number(name: str) -> bool:
    return name.removeprefix("-").isdecimal()


def sorted_hint(train: Sequences, test: Sequences, by: str) -> str:
    """Return what to do where a split by position of sorted sequences may be at fault.

    Or where nearly each sequence has a class of its own, a whole number.
    """
    same = by == "positional" and train.source == test.source and len(train) * len(test) > 0
    if not same or train.labels is None or test.labels is None or train.has_values:
        return ""
    if train.per_step:
        return ""
    classes = np.unique(np.concatenate([train.labels, test.labels]))
    if len(classes) < 2:
        return ""
    if 2 * len(classes) > len(train) + len(test) and all(map(_is_number, train.class_names)):
        return f" Where labels are numbers to predict, say {option('data.targets', 'values')}."
    if not _follow_each_other([train, test]):
        return f" The split is by position; {option('data.split', 'shuffled')} draws it."
    return (
        " The split is by position, and the sequences are sorted by class: "
        f"{option('data.split', 'stratified')} gives each part its share."
    )


def group_notes(named: Sequence[Named], by: str) -> tuple[str, ...]:
    """Return a line for each part that shares groups with the training part before it.

    Args:
        named: Parts and what they are called, the training part first.
        by: How they were split.
    """
    (_, train), *others = named
    found = []
    for name, part in others if by != "group" else ():
        if train.groups is None or part.groups is None or train.source != part.source:
            continue
        if shared := len(np.intersect1d(train.groups, part.groups)):
            found.append(
                f"{part.source}: the {name} part shares {shared} groups with the training part; "
                f"{option('data.split', 'group')} keeps each whole."
            )
    return tuple(found)
