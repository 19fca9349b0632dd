"""metrics.csv: every logged value of a run, in one table that is continued when the run is resumed."""

from __future__ import annotations

import csv
import io
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers.logger import Logger

from coatseg.system.atomic import not_written, whole_file


class MetricsTable(Logger):
    """Appends rows of (step, name: value ...) to a CSV file.

    A new name adds a column, for which the file is rewritten. Rows of steps that a resumed run repeats are dropped, so
    that each step is there only once.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._columns: list[str] | None = None

    @property
    def name(self) -> str:
        """The name under which Lightning knows the logger."""
        return "metrics"

    @property
    def version(self) -> str:
        """Empty, as a run has only one table."""
        return ""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add a row; Lightning counts steps from 0, the table counts the steps that were taken."""
        taken = (step or 0) + 1
        row = {"step": taken, **metrics}
        if self._columns is None:
            self._columns = self._drop_from(taken)
        if new := [name for name in row if name not in self._columns]:
            self._write([*self._columns, *new], read_rows(self.path))
            self._columns += new
        try:
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, self._columns).writerow(row)
        except OSError as error:
            raise not_written(self.path, error) from error

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the run folder holds config.yaml."""

    def _drop_from(self, step: int) -> list[str]:
        """Drop the rows from `step` on, and return the columns."""
        rows = read_rows(self.path)
        columns = list(rows[0]) if rows else ["step"]
        self._write(columns, [row for row in rows if int(row["step"]) < step])
        return columns

    def _write(self, columns: list[str], rows: list[dict[str, str]]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, columns)
        writer.writeheader()
        writer.writerows(rows)
        with whole_file(self.path) as file:
            file.write(text.getvalue().encode())


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table of metrics, with values as written; none if the file is missing."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        # A killed run may have left half a line at the end.
        return [row for row in csv.DictReader(file) if None not in row.values() and row["step"].isdecimal()]
