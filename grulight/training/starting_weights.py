"""A new training from old weights: which are taken, and which are drawn anew."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from grulight.checkpoint_files.reader import (
    read_described,
    require_described,
    require_weights,
)
from grulight.errors import InputError, listed, option

Settings = Mapping[str, Any]
_NETWORK, _HEAD = "network.", "head."
# what sizes a GRUNet's weights, and what it is where nothing was said
_SIZES = {"hidden_size": 16, "num_layers": 1, "bidirectional": False, "bias": True}


class StartingWeights(NamedTuple):
    """What a checkpoint gives to a new training.

    Attributes:
        path: Where it is.
        settings: Arguments of the classifier that it holds.
        weights: Of that classifier's network, by name.
    """

    path: str | os.PathLike[str]
    settings: Settings
    weights: dict[str, Tensor]

    @property
    def from_keras(self) -> dict[str, Any] | None:
        """The description of its Keras model, where it holds one."""
        return self.settings.get("from_keras")

    def give(self, network: nn.Module, settings: Settings) -> list[str]:
        """Give the weights to a network that has drawn its own.

        Args:
            network: Of the new training.
            settings: The new classifier's.

        Returns:
            Lines that say what was taken, and what became of the rest.

        Raises:
            InputError: They are of other sizes, or the features come in another order.
        """
        ours, anew = network.state_dict(), list[str]()
        if self.from_keras is None:
            _require_sizes(self.path, self.settings, settings)
            anew = _drawn_anew(ours, self.weights, self.settings, settings)
        held = {name: each for name, each in self.weights.items() if name not in anew}
        require_weights(self.path, {n: w for n, w in ours.items() if n not in anew}, held)
        _require_order(self.path, self.settings, settings)
        network.load_state_dict(held, strict=False)
        return [*_notes(self.path, anew, self.settings, settings)]


def starting_weights(path: str | os.PathLike[str], from_keras: object = None) -> StartingWeights:
    """Read what a new training starts from; nothing larger than the file is allocated.

    Args:
        path: A checkpoint of ``grulight fit`` or ``grulight port``.
        from_keras: A Keras model that was asked for beside it.

    Raises:
        InputError: It cannot be read, is not of a classifier, or there are two models.
    """
    if from_keras is not None:
        raise InputError(
            f"{option('model.weights')} and {option('model.from_keras')}: each is a model. Leave "
            "one of them out."
        )
    settings, state = read_described(path)
    if settings.get("from_keras") is not None:
        require_described(path, settings["from_keras"], state)
    weights = {
        name.removeprefix(_NETWORK): each
        for name, each in state.items()
        if name.startswith(_NETWORK)
    }
    return StartingWeights(path, settings, weights)


def _require_sizes(path: str | os.PathLike[str], theirs: Settings, ours: Settings) -> None:
    """Refuse a GRUNet of other sizes than its weights.

    Raises:
        InputError: They differ.
    """
    was, now = theirs["input_size"], ours["input_size"]
    if was != now:
        raise InputError(
            f"{path}: its weights read {was} features, the data have {now}. Pass those that it "
            f"was trained on as {option('data.features')}, or train without "
            f"{option('model.weights')}."
        )
    sizes = {name: theirs.get(name, usual) for name, usual in _SIZES.items()}
    if other := [option(f"model.{n}", x) for n, x in sizes.items() if x != ours[n]]:
        raise InputError(f"{path}: its weights are of another size. Add {' '.join(other)}.")


def _require_order(path: str | os.PathLike[str], theirs: Settings, ours: Settings) -> None:
    """Refuse features that have changed places.

    Raises:
        InputError: They have.
    """
    was, now = (each.get("feature_names") for each in (theirs, ours))
    if was and now and list(was) != list(now) and sorted(was) == sorted(now):
        raise InputError(
            f"{path}: its weights read the features in the order {listed([*was])}. Pass them so "
            f"as {option('data.features')}."
        )


def _drawn_anew(
    expected: Mapping[str, Tensor], held: Mapping[str, Tensor], theirs: Settings, ours: Settings
) -> list[str]:
    """Return the weights of a head that answers otherwise, or for other classes."""
    head = [name for name in (*expected, *held) if name.startswith(_HEAD)]
    alike = not _other_names(theirs, ours) and all(
        theirs.get(name, 0) == ours[name] for name in ("num_classes", "num_values", "multilabel")
    )
    fits = all(
        name in expected and name in held and expected[name].shape == held[name].shape
        for name in head
    )
    return [] if alike and fits else list(dict.fromkeys(head))


def _other_names(theirs: Settings, ours: Settings, what: str = "class_names") -> bool:
    """Return whether both have names, and they differ."""
    was, now = theirs.get(what) or (), ours.get(what) or ()
    return bool(was and now) and [*was] != [*now]


def _notes(
    path: str | os.PathLike[str], anew: Sequence[str], theirs: Settings, ours: Settings
) -> Iterator[str]:
    if anew:
        yield (
            f"weights of {path}, but for {' and '.join(anew)}, which are drawn anew: there they "
            f"told {_answers(theirs)}, here {_answers(ours)}"
        )
    else:
        yield f"all weights are those of {path}"
        if _other_names(theirs, ours):
            yield f"what it called {_answers(theirs)} is now {_answers(ours)}"
    if _other_names(theirs, ours, "feature_names"):
        was, now = (listed([*each["feature_names"]]) for each in (theirs, ours))
        yield f"its weights of the features {was} are now those of {now}"
    if (was_scaled := theirs.get("mean") is not None) != (ours.get("mean") is not None):
        yield (
            f"it was trained {'with' if was_scaled else 'without'} "
            f"{option('data.standardize', True)}, and this is "
            f"{'not' if was_scaled else 'with it'}: its weights expect the other"
        )


def _answers(settings: Settings) -> str:
    count, values = settings["num_classes"], settings.get("num_values", 0)
    names = settings.get("class_names")
    return listed([*names]) if names else f"{count} classes" if count else f"{values} values"
