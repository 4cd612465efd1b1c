"""Options that are said in fewer words than the parser takes them."""

from collections.abc import Iterator, Sequence

from jsonargparse import Namespace

from grulight.errors import InputError

_SWITCH = "--early_stopping"


def with_default_optimizer(options: list[str], config: Namespace) -> list[str]:
    """Return options of an optimizer; where no optimizer is chosen, they name the default's.

    Args:
        options: Such as ``--optimizer.lr=0.01``.
        config: The others, parsed; a schedule among them needs an optimizer too.

    Raises:
        InputError: They would be those of what a Keras model was compiled with.
    """
    asked = options or (config.get("lr_scheduler") and ["--lr_scheduler"])
    if not asked or config.get("optimizer"):
        return options
    if config["model"]["from_keras"] is not None:
        option = asked[0].partition("=")[0]
        raise InputError(f"{option}: needs an --optimizer, such as KerasAdam.")
    return ["--optimizer=KerasAdam", *options]


def names_optimizer(arguments: Sequence[str]) -> bool:
    """Return whether an optimizer is among the arguments."""
    return any(each.partition("=")[0] == "--optimizer" for each in arguments)


def split_off(prefix: str, arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the arguments that begin with ``prefix``, with their values, and the others."""
    chosen: list[str] = []
    others: list[str] = []
    into = others
    for argument in arguments:
        if argument.startswith("--"):
            into = chosen if argument.startswith(prefix) else others
            into.append(argument)
            if "=" in argument:
                into = others
        else:
            into.append(argument)
            into = others
    return chosen, others


def with_named_metric(arguments: Sequence[str]) -> Iterator[str]:
    """Yield the arguments, in which ``--early_stopping METRIC`` names what is watched."""
    rest = iter(arguments)
    for argument in rest:
        option, equals, value = argument.partition("=")
        if option != _SWITCH:
            yield argument
            continue
        metric = value if equals else next(rest, "")
        if not metric or metric.startswith("-"):
            raise InputError(f"{_SWITCH}: expected a metric, such as val_loss.")
        yield f"{_SWITCH}.monitor={metric}"
