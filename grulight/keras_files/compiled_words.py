"""What a Keras file was compiled with, in a line each: what training takes over, what it does not.

Nothing is left out without a word: what is not honoured is in the second line.
"""

from collections.abc import Iterator, Mapping

from grulight.errors import one_line
from grulight.keras_files.layer_terms import terms_in_words, terms_left_out
from grulight.keras_files.ported_model import PortedModel
from grulight.keras_files.ported_network import PortedNetwork
from grulight.keras_files.reader.optimizer_settings import OPTIMIZERS
from grulight.keras_files.reader.schedule_settings import ARGUMENTS
from grulight.keras_files.reader.untrusted_text import Json

_CLIPPING = {
    "clipnorm": "clipnorm {} for each variable",
    "global_clipnorm": "global_clipnorm {}",
    "clipvalue": "clipvalue {}",
}
_DIGITS = 5  # digits; files hold float32 numbers


def taken_over(model: PortedModel, *, own_optimizer: bool = False) -> str | None:
    """Return what training takes over, one line; None where that is nothing but the defaults.

    Args:
        model: A Keras model.
        own_optimizer: Whether the user named an optimiser, which goes before the file's.
    """
    compiled, loss = model.description.get("compiled") or {}, model.description.get("loss") or {}
    said = ""
    if own_optimizer and (of_file := [*_optimizer(compiled)]):
        said = f"the optimizer you named takes the place of the file's ({', '.join(of_file)})"
        compiled = {}
    line = [*compile_words(compiled, loss), *terms_in_words(model, own_optimizer=own_optimizer)]
    if line:
        said += f"{'; ' if said else ''}as compiled in Keras: {', '.join(line)}"
    return one_line(said) if said else None


def not_taken_over(model: PortedModel, *, own_optimizer: bool = False) -> str | None:
    """Return what training does not take over, one line; None where that is nothing.

    Args:
        model: A Keras model.
        own_optimizer: Whether the user named an optimiser, which applies no constraints.
    """
    compiled = model.description.get("compiled") or {}
    terms = terms_left_out(model, own_optimizer=own_optimizer)
    left = [*compiled.get("dropped", ()), *terms]
    return one_line(f"compiled with, not taken over: {', '.join(left)}") if left else None


def compile_words(compiled: Mapping[str, Json], loss: Mapping[str, Json]) -> Iterator[str]:
    """Yield what a file was compiled with, where that is not usual, in words.

    Args:
        compiled: See `Compiled.described`; maybe empty.
        loss: See `recorded_loss`; maybe empty.
    """
    if loss.get("name") in ("huber", "log_cosh"):
        yield f"loss {loss['name']}"
    for key in ("label_smoothing", "delta"):
        if key in loss:
            yield f"{key} {_number(loss[key])}"
    yield from _optimizer(compiled)


def _optimizer(compiled: Mapping[str, Json]) -> Iterator[str]:
    given = dict(compiled.get("optimizer") or {})
    if given:
        kind = given.pop("class")
        usual = OPTIMIZERS[kind.lower()][1]
        rate = _number(given.get("learning_rate", usual["learning_rate"]))
        yield kind
        yield from _schedule(compiled) if "schedule" in compiled else (f"learning_rate {rate}",)
        for key, value in given.items():
            if key != "learning_rate" and _number(value) != _number(usual[key]):
                yield f"{key} {_number(value)}"
    for rule, limit in (compiled.get("clipping") or {}).items():
        yield _CLIPPING[rule].format(_number(limit))
    if steps := compiled.get("gradient_accumulation_steps"):
        yield f"gradient_accumulation_steps {steps}"


def _schedule(compiled: Mapping[str, Json]) -> Iterator[str]:
    given = dict(compiled["schedule"])
    usual = ARGUMENTS.get(kind := given.pop("class"), {})
    if "values" in given:
        del given["initial_learning_rate"]  # the first of the values
    told = (f"{key} {_listed(value)}" for key, value in given.items() if value != usual.get(key))
    yield f"learning_rate {kind} ({', '.join(told)})"


def _listed(value: Json) -> str:
    return " ".join(map(_number, value)) if isinstance(value, list) else _number(value)


def other_loss(network: PortedNetwork) -> str | None:
    """Say, in one line, that losses are shown by another than the file's, which cannot be trained.

    None where the loss is the file's, or the file names none.
    """
    if not network.misfit:
        return None
    return one_line(f"no training here, and another loss in tests: compiled with {network.misfit}")


def _number(value: Json) -> str:
    return str(value) if isinstance(value, bool) else f"{value:.{_DIGITS}g}"
