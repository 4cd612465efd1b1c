"""What a checkpoint holds of a Keras model: its description, as data."""

from typing import Any

from grulight.checkpoint_files.container_rules import DictOf, ListOf, Nullable, Record
from grulight.checkpoint_files.rules import Anything, Boolean, Integer, Number, Rule, Text


class _Shapes(Rule):
    """Shapes of arrays by name, in tables of tables."""

    expected = "shapes by name"

    def holds(self, value: object) -> bool:
        """Return whether it may be one or some."""
        return isinstance(value, dict | list)

    def check(self, value: Any, where: str) -> None:
        """Check the tables and their shapes."""
        super().check(value, where)
        if isinstance(value, list):
            _SHAPE.check(value, where)
            return
        for name, held in value.items():
            self.check(held, f"{where}[{str(name)[:40]!r}]")


_SHAPE = ListOf(Integer(0, 2**31))

# what a Keras file was compiled with; numbers in Keras' words
_BELOW_ONE, _ABOVE_ZERO, _STEPS = Number(0, 1 - 2**-24), Number(0, 1e30), Number(1e-6, 1e30)
_OPTIMIZERS = ("Adam", "Adamax", "Nadam", "Adagrad", "Adadelta", "Lion", "RMSprop", "SGD")
_SCHEDULES = (
    *("ExponentialDecay", "InverseTimeDecay", "PolynomialDecay"),
    *("CosineDecay", "CosineDecayRestarts", "PiecewiseConstantDecay"),
)
_SCHEDULE = Record(
    {"class": Text(_SCHEDULES), "initial_learning_rate": _ABOVE_ZERO},
    {
        **dict.fromkeys(("decay_steps", "first_decay_steps"), _STEPS),
        **dict.fromkeys(("decay_rate", "end_learning_rate", "power", "alpha"), _ABOVE_ZERO),
        **dict.fromkeys(("warmup_steps", "m_mul"), _ABOVE_ZERO),
        **dict.fromkeys(("staircase", "cycle"), Boolean()),
        "warmup_target": Nullable(_ABOVE_ZERO),
        "t_mul": Number(1, 1e30),
        "boundaries": ListOf(Integer(0, 2**63), 1),
        "values": ListOf(_ABOVE_ZERO, 2),
    },
)
_COMPILED = Record(
    {},
    {
        "unsupported_loss": Nullable(Text()),
        "optimizer": Nullable(
            Record(
                {"class": Text(_OPTIMIZERS)},
                {
                    **dict.fromkeys(("beta_1", "beta_2", "rho", "momentum"), _BELOW_ONE),
                    **dict.fromkeys(("learning_rate", "epsilon", "weight_decay"), _ABOVE_ZERO),
                    "initial_accumulator_value": _ABOVE_ZERO,
                    **dict.fromkeys(("amsgrad", "centered", "nesterov"), Boolean()),
                },
            )
        ),
        "clipping": Record(
            {}, dict.fromkeys(("clipnorm", "global_clipnorm", "clipvalue"), Number(1e-300))
        ),
        "schedule": _SCHEDULE,
        "gradient_accumulation_steps": Integer(2, 2**31),
        "dropped": ListOf(Text()),
    },
)

# as `grulight.keras_files.model_description` makes them
DESCRIPTION = Record(
    {
        "format": Integer(),
        "keras_version": Nullable(Text()),
        "backend": Nullable(Text()),
        "model": Record({"class_name": Text(), "config": Anything()}),
        "up_to": Nullable(Text()),
        "loss": Nullable(
            Record(
                {"name": Text(), "from_logits": Boolean()},
                {"label_smoothing": Number(0, 1), "delta": _ABOVE_ZERO},
            )
        ),
        "ignored": ListOf(Text()),
        "shapes": _Shapes(),
        "dtype": Text(("float32", "float64")),
    },
    {"compiled": _COMPILED, "id_names": DictOf(ListOf(Text()))},
)
