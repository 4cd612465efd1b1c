"""Sequences for Lightning: which part trains, validates and tests, in what batches."""

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from grulight.data.missing import Missing, names_without_mask, offset_without_mask
from grulight.data.partition import SplitBy
from grulight.data.readers import ReadOptions, named
from grulight.data.readers.table_columns import TableLayout
from grulight.data.readers.targets import Kind, Wish
from grulight.data.serving import ServingDataModule
from grulight.data.sources import Sources
from grulight.data.splitting import Split
from grulight.data.windows import require_no_others, series_options, windows_asked
from grulight.errors import InputError, option, require_choice

# On the command line, and in files that nobody vouches for, a source is a name.
if TYPE_CHECKING:
    Source: TypeAlias = Any
else:
    Source = str
_CHOICES = {
    "targets": get_args(Kind),
    "decimal": (None, ".", ","),
    "layout": get_args(TableLayout),
    "missing": get_args(Missing),
    "split": get_args(SplitBy),
}
_MOST_CLASSES = 1 << 20  # each has a name


class SequenceDataModule(ServingDataModule):
    """Serve labelled sequences from a built-in set, a file or an archive.

    Unless ``split`` says otherwise it is by position, as in the original pipeline: the first
    ``train_size`` sequences train and the rest test. Sources with a test part of their own keep it.

    Args:
        source: ``waves`` (built in), a file (.npz, .npy, .csv, .tsv, .parquet, .xlsx, .ts) or
            ``aeon:NAME``; from Python also a data frame, arrays ``x``, ``(x, y)`` or
            ``(x, y, weights)``, a list of arrays of unequal lengths, or ``Sequences``.
        test_source: Where the test part comes from, if not from ``source``.
        train_size: Share (0.8) or number (800) of the sequences that train.
        val_size: Share or number taken from the training part for validation, split as ``split``
            says: by position from its end.
        batch_size: Sequences per batch.
        standardize: Scale every feature to mean 0 and deviation 1 over the training part.
        label: Name of the label column in tables; with ``window`` the feature that is forecast.
        sequence: Name of the column that says which sequence a row belongs to.
        time: Name of the column that orders the rows of a sequence, where there is one.
        features: The columns of a table that are features (by default all others), or names for
            the features of another source.
        labels_file: Labels (.npy) of a ``.npy`` source.
        lengths_file: Sequence lengths (.npy) of a ``.npy`` source.
        class_names: The classes in the order of the model's outputs; by default those of the
            training part, sorted.
        targets: Whether labels are ``classes``, ``values``, or several ``labels`` that hold (1) or
            do not (0). With ``auto`` integers, booleans, texts and whole floats are classes, and so
            an array whose last axis is one-hot; rows of 0 and 1 are labels, other numbers values.
            A ported Keras model asks for what its output is.
        per_step: Whether there is a label for each time step. By default where a label array has
            three axes, or two of which the second is as long as the sequences; never in a table.
        num_classes: How many classes a ported model tells apart: whole-number labels then are
            positions among its outputs, also where some classes occur in no sequence.
        offset: What to subtract from each feature before it is rounded to float32. By default
            what ``standardize`` needs where float32 could not tell a feature's values apart.
        separator: Sign between cells of text, such as ; or the word tab; recognised by default.
        decimal: Decimal sign of a text table, . or the comma; recognised by default.
        encoding: Of a text table that is not UTF-8, such as cp1252 or utf-16, as Python names it.
        layout: Whether a table has one row per time step (long) or per sequence (wide).
        steps: Names of a wide table's columns, as {feature}_{step}; by default a number at the end.
        missing: What becomes of missing values (NaN, empty cells): an ``error``, the ``last`` value
            before, the ``mean`` of the training part, or a ``mask``, which is the last value and
            two more features: whether it is missing, and the steps since the last one.
        standardize_targets: Scale values to mean 0 and deviation 1 over the training part, within
            the model: it predicts, and its errors are, in the values' own units.
        fill: Means to fill missing values by, as in a checkpoint; by default the training part's.
        split: Which sequences test and validate: the last ones (positional), random ones
            (shuffled), random ones with the same share of each class (stratified), or random whole
            groups (group).
        group: Name of the column, no feature, that says which group a sequence belongs to, such as
            its patient; the folds of ``tune`` keep groups whole as well. An .npz has ``groups``.
        weight: Name of the column, no feature, by which the loss of each sequence is multiplied, in
            training, validation and test, as Keras' sample weights. An .npz has ``weights``.
        window: Steps of the windows that long series are cut into, to forecast a feature. Each
            window's label is the value of ``label``, which stays a feature too, ``horizon`` steps
            after its last step. Each series is split by time.
        horizon: Steps from the last one of a window to the value that is forecast.
        seed: Seed of the shuffling, by default torch's initial seed; and of the split, by default
            0. Both are kept in checkpoints.

    Attributes:
        given: The arguments, by name.
    """

    def __init__(
        self,
        source: Source = "waves",
        test_source: Source | None = None,
        train_size: float = 0.8,
        val_size: float = 0.0,
        batch_size: int = 32,
        standardize: bool = False,
        label: str = "label",
        sequence: str = "sequence",
        time: str = "time",
        features: list[str] | None = None,
        labels_file: str | None = None,
        lengths_file: str | None = None,
        class_names: list[str] | None = None,
        targets: Kind = "auto",
        per_step: bool | None = None,
        num_classes: int | None = None,
        offset: list[float] | None = None,
        separator: str | None = None,
        decimal: Literal[".", ","] | None = None,
        encoding: str | None = None,
        layout: TableLayout = "long",
        steps: str | None = None,
        missing: Missing = "error",
        standardize_targets: bool = True,
        fill: list[float] | None = None,
        split: SplitBy = "positional",
        group: str | None = None,
        weight: str | None = None,
        window: int | None = None,
        horizon: int = 1,
        seed: int | None = None,
    ) -> None:
        self.given = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        super().__init__()
        for name, choices in _CHOICES.items():
            require_choice(f"data.{name}", self.given[name], choices)
        features = [features] if isinstance(features, str) else features
        if batch_size < 1:
            raise InputError(f"{option('data.batch_size', batch_size)}: expected at least 1.")
        if seed is not None and seed < 0:
            raise InputError(f"{option('data.seed', seed)}: expected at least 0.")
        if num_classes is not None and not 1 <= num_classes <= _MOST_CLASSES:
            raise InputError(
                f"{option('data.num_classes', num_classes)}: expected 1 to {_MOST_CLASSES}."
            )
        self.source, self.test_source = str(named(source)), test_source
        self.batch_size, self.standardize, self.seed = batch_size, standardize, seed
        self.standardize_targets = standardize_targets
        self.missing = None if missing == "error" else missing
        self._fill = fill
        self.options = ReadOptions(
            label=label,
            sequence=sequence,
            time=time,
            labels_file=labels_file,
            lengths_file=lengths_file,
            targets=Wish(targets, per_step),
            offset=offset_without_mask(offset, fill),
            separator=separator,
            decimal=decimal,
            encoding=encoding,
            layout=layout,
            steps=steps,
            missing=self.missing is not None,
            group=group,
            weight=weight,
        )
        inputs = names_without_mask(features, missing) if features else None
        names = tuple(class_names) if class_names else None
        windows = windows_asked(window, horizon, label, inputs)
        if windows:
            others = {"class_names": names, "num_classes": num_classes, "labels_file": labels_file}
            require_no_others(others | {"split": split, "group": group}, self.options.targets)
        options = series_options(self.options) if windows else self.options
        second = None if test_source is None else named(test_source)
        sources = Sources(named(source), second, options, inputs, standardize)
        drawn = (split, seed or 0)
        self._split = Split(sources, train_size, val_size, *drawn, names, num_classes, windows)
