"""Tables that grow with a run: one row per step, through all interruptions."""

import csv
import io
import math
import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from grulight.files import written_whole

_EVERY = 1.0  # seconds between writes: an epoch may take less time than a file to open


class MetricsFile(Logger):
    """Write metrics once a second, those of one step in one row.

    Lightning's CSVLogger deletes what an interrupted run has written, and splits the training and
    the validation of a step into two rows.

    Args:
        path: The file (.csv), in the run directory.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = Path(path)
        self._columns: list[str] = []
        self._last: dict[str, str] = {}
        self._start_of_last = 0  # in bytes
        self._waiting: list[dict[str, str]] = []  # rows that are not in the file yet
        self._written_at = -math.inf

    @property
    def name(self) -> str:
        """The name of the directory above the run's."""
        return self.path.parent.parent.name

    @property
    def version(self) -> str:
        """The name of the run directory."""
        return self.path.parent.name

    @property
    def log_dir(self) -> str:
        """The run directory."""
        return str(self.path.parent)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any) -> None:
        """Leave them out: ``config.yaml`` has them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Take metrics (name to number) into the row of their step; ``save`` writes it at once."""
        row = {name: repr(float(value)) for name, value in metrics.items()} | {"step": str(step)}
        if "epoch" in row:
            row["epoch"] = str(int(metrics["epoch"]))
        if self._waiting and self._waiting[-1]["step"] == row["step"]:
            self._waiting[-1] |= row
        else:
            self._waiting.append(row)
        if time.monotonic() - self._written_at >= _EVERY:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        """Write the rows that wait."""
        rows, self._waiting = self._waiting, []
        if not rows:
            return
        if not self._columns:
            self._take_up(self._read())
        if self._last.get("step", rows[0]["step"]) == rows[0]["step"]:
            rows[0] = self._last | rows[0]
        else:
            rows.insert(0, self._last)
        self._write(rows)
        self._written_at = time.monotonic()

    def continue_from(self, step: int) -> None:
        """Drop the rows of this step and later ones, which the resumed run writes anew."""
        rows = [row for row in self._read() if int(row["step"]) < step]
        self._columns, self._last = [], {}
        if rows:
            self._rewrite(rows)
        else:
            self.path.unlink(missing_ok=True)

    def _take_up(self, rows: list[dict[str, str]]) -> None:
        """Go on after ``rows``, which the file ends with."""
        if rows:
            self._last = rows[-1]
            self._columns = self._columns or sorted(self._last)
            self._start_of_last = self.path.stat().st_size - len(self._line(rows[-1]))

    def _write(self, rows: list[dict[str, str]]) -> None:
        """Put ``rows`` in the place of the last row."""
        if set().union(*rows) <= set(self._columns):
            lines = [self._line(row) for row in rows]
            with self.path.open("r+b") as file:
                file.seek(self._start_of_last)
                file.write(b"".join(lines))
                file.truncate()
            self._last = rows[-1]
            self._start_of_last += sum(map(len, lines[:-1]))
        else:
            self._rewrite(self._read()[:-1] + rows)

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        """Put ``rows`` in the place of the file, with all the columns that they have."""
        self._columns = columns = sorted(set().union(*rows))
        lines = [self._line(dict(zip(columns, columns, strict=True))), *map(self._line, rows)]
        with written_whole(self.path) as temporary:
            temporary.write_bytes(b"".join(lines))
        self._take_up(rows)

    def _read(self) -> list[dict[str, str]]:
        if not self.path.is_file():
            return []
        text = self.path.read_text()
        whole = text[: text.rfind("\n") + 1]  # a process that was killed may leave half a row
        return list(csv.DictReader(io.StringIO(whole)))

    def _line(self, row: dict[str, str]) -> bytes:
        text = io.StringIO()
        cells = [row.get(name, "") for name in self._columns]
        csv.writer(text, lineterminator="\n").writerow(cells)
        return text.getvalue().encode()
