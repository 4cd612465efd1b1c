"""The optimiser that a Keras file was compiled with."""

from collections.abc import Iterable, Mapping

from torch import nn
from torch.nn.parameter import Parameter

from grulight.adagrad_variants import KerasAdadelta, KerasAdagrad
from grulight.adam_variants import KerasAdamax, KerasLion, KerasNadam
from grulight.errors import InputError
from grulight.keras_files.constraints import Constraints, constraints_of
from grulight.keras_files.reader.optimizer_settings import OPTIMIZERS
from grulight.keras_files.reader.schedule_settings import read_schedule
from grulight.keras_files.reader.untrusted_text import Json, quote
from grulight.keras_files.variables_in_torch import keras_variables
from grulight.optim import KerasAdam, KerasRMSprop, KerasSGD
from grulight.optimizer_base import KEPT, Clipping, KerasOptimizer
from grulight.schedules import Schedule

CLASSES: dict[str, type[KerasOptimizer]] = {
    "Adam": KerasAdam,
    "Adamax": KerasAdamax,
    "Nadam": KerasNadam,
    "Adagrad": KerasAdagrad,
    "Adadelta": KerasAdadelta,
    "Lion": KerasLion,
    "RMSprop": KerasRMSprop,
    "SGD": KerasSGD,
}
_WORDS = {"learning_rate": "lr", "epsilon": "eps"}
_BETAS = ("beta_1", "beta_2")


def compiled_optimizer(
    model: nn.Module, parameters: Iterable[Parameter], compiled: Mapping[str, Json]
) -> KerasOptimizer:
    """Return the optimiser that a file was compiled with; Keras' Adam where it names none.

    Args:
        model: A ported Keras model.
        parameters: What is trained.
        compiled: `compiled` of the model's description, maybe empty.

    Raises:
        InputError: Its settings are none that Keras takes.
    """
    given = compiled.get("optimizer") or {"class": "Adam"}
    kind = given["class"]
    own = OPTIMIZERS[kind.lower()][1].keys() - {*_BETAS}
    settings = {_WORDS.get(key, key): given[key] for key in own if key in given}
    if given.keys() >= {*_BETAS} <= OPTIMIZERS[kind.lower()][1].keys():
        settings["betas"] = tuple(given[key] for key in _BETAS)
    try:
        optimizer = CLASSES[kind](parameters, **settings)
    except ValueError as error:
        raise InputError(f"the Keras model was compiled with an optimizer of which {error}") from (
            error
        )
    for rule, limit in (compiled.get("clipping") or {}).items():
        variables = tuple(tuple(held) for _, _, held in keras_variables(model))
        optimizer.clip = Clipping(rule, limit, variables)
    if held := compiled.get("schedule"):
        schedule = read_schedule(held["class"], {k: v for k, v in held.items() if k != "class"})
        if schedule is None:
            raise InputError(f"a schedule {quote(held['class'])} with other settings than its own.")
        optimizer.schedule = Schedule(held["class"], schedule)
    if steps := compiled.get("gradient_accumulation_steps"):
        optimizer.accumulate = steps
        for group in optimizer.param_groups:
            group[KEPT] = 0
    if constraints := tuple(constraints_of(model)):
        optimizer.constrain = Constraints(constraints)
    return optimizer
