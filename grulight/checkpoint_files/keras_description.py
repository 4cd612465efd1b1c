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
_BELOW_ONE, _ABOVE_ZERO = Number(0, 1 - 2**-24), Number(0, 1e30)
_COMPILED = Record(
    {},
    {
        "unsupported_loss": Nullable(Text()),
        "optimizer": Nullable(
            Record(
                {"class": Text(("Adam", "RMSprop", "SGD"))},
                {
                    **dict.fromkeys(("beta_1", "beta_2", "rho", "momentum"), _BELOW_ONE),
                    **dict.fromkeys(("learning_rate", "epsilon", "weight_decay"), _ABOVE_ZERO),
                    **dict.fromkeys(("amsgrad", "centered", "nesterov"), Boolean()),
                },
            )
        ),
        "clipping": Record(
            {}, dict.fromkeys(("clipnorm", "global_clipnorm", "clipvalue"), Number(1e-300))
        ),
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
