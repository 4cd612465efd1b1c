"""What a checkpoint holds, as data.

Beside the keys that are named here a checkpoint may have any: those of users' callbacks, modules
and data modules. Keys that are optional are missing in older checkpoints, or in those of
``grulight port``, which hold a model and no training.
"""

from typing import get_args

from grulight.checkpoint_files.container_rules import (
    Counts,
    DictOf,
    Either,
    JsonLines,
    ListOf,
    Nullable,
    Record,
)
from grulight.checkpoint_files.data_format import READING
from grulight.checkpoint_files.keras_description import DESCRIPTION
from grulight.checkpoint_files.rules import (
    Anything,
    Boolean,
    Integer,
    Nothing,
    Number,
    Rule,
    TensorOf,
    Text,
)
from grulight.kernels.choices import Kernel

_FLOATS = ("torch.float32", "torch.float64", "torch.float16", "torch.bfloat16")
_WEIGHT = TensorOf((*_FLOATS, "torch.int64", "torch.int32", "torch.uint8", "torch.bool"))
_PLAIN_DICT = DictOf(Anything(), Anything())
_SIZE = Integer(1, 2**31)
_NAMES = Nullable(ListOf(Text()))

# arguments of GRUClassifier
HYPER_PARAMETERS = Record(
    {"input_size": _SIZE, "num_classes": Integer(0, 2**31)},
    {
        "hidden_size": _SIZE,
        "num_layers": _SIZE,
        "bidirectional": Boolean(),
        "dropout": Number(0, 1),
        "bias": Boolean(),
        "init": Text(("keras", "torch")),
        "class_names": _NAMES,
        "feature_names": _NAMES,
        "offset": Nullable(ListOf(Number(), 1)),
        "mean": Nullable(ListOf(Number(), 1)),
        "scale": Nullable(ListOf(Number(1e-300), 1)),
        "missing": Nullable(Text(("last", "mean", "mask"))),
        "fill": Nullable(ListOf(Number(), 1)),
        "from_keras": Nullable(DESCRIPTION),
        "num_values": Integer(0, 2**31),
        "multilabel": Boolean(),
        "label_smoothing": Number(0, 1),
        "class_weight": Nullable(Either(Text(("balanced",)), DictOf(Number(0)))),
        "target_mean": Nullable(ListOf(Number(), 1)),
        "target_scale": Nullable(ListOf(Number(1e-300), 1)),
        "per_step": Boolean(),
        "kernel": Text(get_args(Kernel)),
        "steps_per_execution": Nullable(Integer(1)),
        "weights": Nothing(),  # a path, which would be opened
        "freeze": Nullable(ListOf(Text())),
    },
)

# Lightning's counts, by the loop that makes them
_COUNTS = Counts(
    {"ready": Integer(), "completed": Integer()}, {"started": Integer(), "processed": Integer()}
)
_PROGRESS: dict[str, Rule] = {"total": _COUNTS, "current": _COUNTS}
_EPOCHS = Counts(dict.fromkeys(Counts.order, Integer()))
_BATCHES = Record(_PROGRESS | {"is_last_batch": Boolean()})
_SERVED = Record(
    {},
    {
        **dict.fromkeys(("epoch", "batch", "sequences"), Integer()),
        **dict.fromkeys(("batch_size", "steps_per_execution"), Integer(1)),
    },
)
_OPTIMIZER_PROGRESS = Record(
    {"optimizer": Record({"step": Record(_PROGRESS), "zero_grad": Record(_PROGRESS)})}
)
LOOPS = Record(
    {
        "fit_loop": Record(
            {
                "epoch_progress": Record({"total": _COUNTS, "current": _EPOCHS}),
                "epoch_loop.batch_progress": _BATCHES,
                "epoch_loop.automatic_optimization.optim_progress": _OPTIMIZER_PROGRESS,
            },
            {
                "state_dict": Record({}, {"combined_loader": ListOf(_SERVED)}),
                "epoch_loop.state_dict": Record({}, {"_batches_that_stepped": Integer()}),
                "epoch_loop.scheduler_progress": Record(_PROGRESS),
                "epoch_loop.automatic_optimization.state_dict": _PLAIN_DICT,
                "epoch_loop.manual_optimization.state_dict": _PLAIN_DICT,
                "epoch_loop.manual_optimization.optim_step_progress": Record(_PROGRESS),
                "epoch_loop.val_loop.state_dict": _PLAIN_DICT,
                "epoch_loop.val_loop.batch_progress": _BATCHES,
            },
        )
    },
)

# what our callbacks keep
EPOCH = Record(
    {
        "number": Integer(1),
        "metrics": DictOf(Number(finite=False)),
        "observation": Text(),
    },
    {"learning_rate": Nullable(Number(finite=False))},
)
RECORDER = Record({"epochs": JsonLines(EPOCH)}, {"learning_rate": Nullable(Number(finite=False))})
SAVER = Record(
    {"dirpath": Text(), "best_model_path": Text(), "best": Number(finite=False)},
    {"chooses": Boolean()},
)

_OPTIMIZER = Record(
    {
        "state": DictOf(DictOf(Anything()), Integer()),
        "param_groups": ListOf(Record({"params": ListOf(Integer())})),
    }
)
_PROCESS = Record(
    {
        "sums": TensorOf(("torch.float64", "torch.float32"), (4,)),
        "rng": TensorOf(("torch.uint8",)),
    },
    {"cuda_rng": TensorOf(("torch.uint8",), (16,))},
)
_SCALER = Record(  # of 16-mixed
    {
        **dict.fromkeys(("scale", "growth_factor", "backoff_factor"), Number(1e-300)),
        **dict.fromkeys(("growth_interval", "_growth_tracker"), Integer()),
    }
)

CHECKPOINT = Record(
    {"grulight_format": Integer()},
    {
        "state_dict": DictOf(_WEIGHT),
        "hyper_parameters": HYPER_PARAMETERS,
        "keras_model": DESCRIPTION,
        "why_python_only": Text(),
        "epoch": Integer(),
        "global_step": Integer(),
        "pytorch-lightning_version": Text(),
        "hparams_name": Text(),
        "loops": LOOPS,
        "callbacks": DictOf(Anything(), Anything()),
        "optimizer_states": ListOf(_OPTIMIZER),
        "lr_schedulers": ListOf(DictOf(Anything())),
        "SequenceDataModule": Record(
            {"seed": Nullable(Integer(0, 2**64 - 1))},
            {
                "source": Text(),
                "columns": Record({"sequence": Text(), "time": Text(), "label": Text()}),
                "reading": READING,
            },
        ),
        "optimization": Nullable(Record({}, {"optimizer": Nullable(_PLAIN_DICT),
                                             "lr_scheduler": Nullable(_PLAIN_DICT)})),
        "processes": ListOf(_PROCESS, 1),
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
