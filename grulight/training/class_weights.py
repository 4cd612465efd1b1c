"""By what the loss of each class is multiplied in training."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from grulight.data.sequences import Sequences
from grulight.errors import InputError, listed, option
from grulight.heads import Head

ClassWeight = Literal["balanced"] | Mapping[str, float] | None


def require_class_weight(wanted: ClassWeight, head: Head, names: Sequence[str]) -> None:
    """Refuse weights that no class has.

    Raises:
        InputError: There are no classes, one of another name, or a weight is negative or infinite.
    """
    if wanted is None:
        return
    if isinstance(wanted, str) and wanted != "balanced":
        said = option("model.class_weight", wanted)
        raise InputError(f"{said}: expected balanced, or a mapping of classes to weights.")
    if not head.num_classes:
        raise InputError(
            f"{option('model.class_weight')}: the model answers with {head.words}, no classes."
        )
    for name, weight in {} if wanted == "balanced" else dict(wanted).items():
        if str(name) not in names:
            known = listed(names, like=[str(name)])
            raise InputError(
                f"{option('model.class_weight')}: {name!r} is none of the classes {known}."
            )
        if not 0 <= weight < np.inf:
            raise InputError(
                f"{option('model.class_weight')}: {name!r}: {weight}, expected 0 or more."
            )


def class_weights(
    wanted: ClassWeight, names: Sequence[str], train: Sequences | None
) -> Tensor | None:
    """Return the weight of each class (C,), float32; None for 1.

    Balanced weights are those of scikit-learn's ``compute_class_weight``: the number of labels over
    the number of classes times that of the class.

    Args:
        wanted: What was asked for.
        names: C names.
        train: The training part, whose labels are counted.

    Raises:
        InputError: There is no training part to count.
    """
    if wanted is None:
        return None
    if wanted != "balanced":
        given = {str(name): weight for name, weight in wanted.items()}
        return torch.tensor([float(given.get(name, 1.0)) for name in names])
    if train is None or train.labels is None:
        raise InputError(
            "class_weight='balanced' counts the labels of a SequenceDataModule; give weights by "
            "the names of classes."
        )
    counts = np.bincount(np.asarray(train.labels)[train.counted].ravel(), minlength=len(names))
    shares = counts.sum() / (len(names) * np.maximum(counts, 1))
    return torch.tensor(shares, dtype=torch.float32)
