"""What a checkpoint holds, as data.

Beside the keys that are named here a checkpoint may have any: those of users' callbacks, modules
and data modules. Keys that are optional are missing in older checkpoints, or in those of
``grulight port``, which hold a model and no training.
"""

from typing import Any, get_args

import torch

from grulight.checkpoint_files.rules import (
    Anything,
    Counts,
    Either,
    Flag,
    Items,
    Lines,
    Numbers,
    Real,
    Record,
    Rule,
    Table,
    Text,
    Whole,
)
from grulight.kernels.fused import Kernel

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
_WEIGHT = Numbers((*FLOATS, torch.int64, torch.int32, torch.uint8, torch.bool))
_PLAIN_TABLE = Table(Anything(), Anything())
_SIZE = Whole(1, 2**31)
_NAMES = Either(Items(Text()))


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


_SHAPE = Items(Whole(0, 2**31))

# what a Keras file was compiled with; numbers in Keras' words
_BELOW_ONE, _ABOVE_ZERO = Real(0, 1 - 2**-24), Real(0, 1e30)
_COMPILED = Record(
    {},
    {
        "unsupported_loss": Either(Text()),
        "optimizer": Either(
            Record(
                {"class": Text(("Adam", "RMSprop", "SGD"))},
                {
                    **dict.fromkeys(("beta_1", "beta_2", "rho", "momentum"), _BELOW_ONE),
                    **dict.fromkeys(("learning_rate", "epsilon", "weight_decay"), _ABOVE_ZERO),
                    **dict.fromkeys(("amsgrad", "centered", "nesterov"), Flag()),
                },
            )
        ),
        "clipping": Record(
            {}, dict.fromkeys(("clipnorm", "global_clipnorm", "clipvalue"), Real(1e-300))
        ),
        "dropped": Items(Text()),
    },
)

# of a Keras model, as `grulight.keras_files.port` makes them
DESCRIPTION = Record(
    {
        "format": Whole(),
        "keras_version": Either(Text()),
        "backend": Either(Text()),
        "model": Record({"class_name": Text(), "config": Anything()}),
        "up_to": Either(Text()),
        "loss": Either(
            Record(
                {"name": Text(), "from_logits": Flag()},
                {"label_smoothing": Real(0, 1), "delta": _ABOVE_ZERO},
            )
        ),
        "ignored": Items(Text()),
        "shapes": _Shapes(),
        "dtype": Text(("float32", "float64")),
    },
    {"compiled": _COMPILED},
)

# arguments of GRUClassifier
HYPER_PARAMETERS = Record(
    {"input_size": _SIZE, "num_classes": Whole(0, 2**31)},
    {
        "hidden_size": _SIZE,
        "num_layers": _SIZE,
        "bidirectional": Flag(),
        "dropout": Real(0, 1),
        "bias": Flag(),
        "init": Text(("keras", "torch")),
        "class_names": _NAMES,
        "feature_names": _NAMES,
        "mean": Either(Items(Real(), 1)),
        "scale": Either(Items(Real(1e-300), 1)),
        "from_keras": Either(DESCRIPTION),
        "num_values": Whole(0, 2**31),
        "per_step": Flag(),
        "kernel": Text(get_args(Kernel)),
        "steps_per_execution": Either(Whole(1)),
    },
)

# Lightning's counts, by the loop that makes them
_COUNTS = Counts(
    {"ready": Whole(), "completed": Whole()}, {"started": Whole(), "processed": Whole()}
)
_PROGRESS: dict[str, Rule] = {"total": _COUNTS, "current": _COUNTS}
_BATCHES = Record(_PROGRESS | {"is_last_batch": Flag()})
_SERVED = Record(
    {},
    {
        **dict.fromkeys(("epoch", "batch", "sequences"), Whole()),
        **dict.fromkeys(("batch_size", "steps_per_execution"), Whole(1)),
    },
)
_OPTIMIZER_PROGRESS = Record(
    {"optimizer": Record({"step": Record(_PROGRESS), "zero_grad": Record(_PROGRESS)})}
)
LOOPS = Record(
    {
        "fit_loop": Record(
            {
                "epoch_progress": Record(_PROGRESS),
                "epoch_loop.batch_progress": _BATCHES,
                "epoch_loop.automatic_optimization.optim_progress": _OPTIMIZER_PROGRESS,
            },
            {
                "state_dict": Record({}, {"combined_loader": Items(_SERVED)}),
                "epoch_loop.state_dict": Record({}, {"_batches_that_stepped": Whole()}),
                "epoch_loop.scheduler_progress": Record(_PROGRESS),
                "epoch_loop.automatic_optimization.state_dict": _PLAIN_TABLE,
                "epoch_loop.manual_optimization.state_dict": _PLAIN_TABLE,
                "epoch_loop.manual_optimization.optim_step_progress": Record(_PROGRESS),
                "epoch_loop.val_loop.state_dict": _PLAIN_TABLE,
                "epoch_loop.val_loop.batch_progress": _BATCHES,
            },
        )
    },
)

# what our callbacks keep
EPOCH = Record(
    {
        "number": Whole(1),
        "metrics": Table(Real(finite=False)),
        "observation": Text(),
    },
    {"learning_rate": Either(Real(finite=False))},
)
RECORDER = Record({"epochs": Lines(EPOCH)}, {"learning_rate": Either(Real(finite=False))})
SAVER = Record({"dirpath": Text(), "best_model_path": Text(), "best": Real(finite=False)})

_OPTIMIZER = Record(
    {
        "state": Table(Table(Anything()), Whole()),
        "param_groups": Items(Record({"params": Items(Whole())})),
    }
)
_PROCESS = Record(
    {
        "sums": Numbers((torch.float64, torch.float32), (4,)),
        "rng": Numbers((torch.uint8,)),
    },
    {"cuda_rng": Numbers((torch.uint8,), (16,))},
)
_SCALER = Record(  # of 16-mixed
    {
        **dict.fromkeys(("scale", "growth_factor", "backoff_factor"), Real(1e-300)),
        **dict.fromkeys(("growth_interval", "_growth_tracker"), Whole()),
    }
)

CHECKPOINT = Record(
    {"grulight_format": Whole()},
    {
        "state_dict": Table(_WEIGHT),
        "hyper_parameters": HYPER_PARAMETERS,
        "keras_model": DESCRIPTION,
        "why_python_only": Text(),
        "epoch": Whole(),
        "global_step": Whole(),
        "pytorch-lightning_version": Text(),
        "hparams_name": Text(),
        "loops": LOOPS,
        "callbacks": Table(Anything(), Anything()),
        "optimizer_states": Items(_OPTIMIZER),
        "lr_schedulers": Items(Table(Anything())),
        "SequenceDataModule": Record({"seed": Either(Whole(0, 2**64 - 1))}),
        "optimization": Either(Record({}, {"optimizer": Either(_PLAIN_TABLE),
                                           "lr_scheduler": Either(_PLAIN_TABLE)})),
        "processes": Items(_PROCESS, 1),
        "MixedPrecision": _SCALER,
    },
)  # fmt: skip

# what a training goes on from, beside the above
CONTINUED = Record(
    {
        key: Anything()
        for key in (
            *("epoch", "global_step", "hyper_parameters", "pytorch-lightning_version"),
            *("state_dict", "callbacks", "optimizer_states", "lr_schedulers"),
        )
    }
)
CALLBACKS = {"TraceRecorder": RECORDER, "RunCheckpoint(": SAVER}  # by how their keys begin
