"""What a checkpoint holds of the data that it was trained on, as data."""

from grulight.checkpoint_files.container_rules import Nullable, Record
from grulight.checkpoint_files.rules import Boolean, Integer, Number, Text

_SIZE = Integer(1, 2**31)

# arguments of SequenceDataModule, and the seed of its split
READING = Record(
    {},
    {
        "layout": Text(("long", "wide")),
        "separator": Nullable(Text()),
        "decimal": Nullable(Text((".", ","))),
        "steps": Nullable(Text()),
        "group": Nullable(Text()),
        "weight": Nullable(Text()),
        "targets": Text(),
        "per_step": Nullable(Boolean()),
        "train_size": Number(0),
        "val_size": Number(0),
        "split": Text(("positional", "shuffled", "stratified", "group")),
        "window": Nullable(_SIZE),
        "horizon": _SIZE,
        "split_seed": Integer(0, 2**64 - 1),
    },
)
