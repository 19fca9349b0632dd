"""Means over defined scores, and the rows of score tables: percentages, from the best class down."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


def mean_of_defined(values: Values) -> float:
    """Return the mean of the values that are not NaN; NaN if there is none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def sorted_rows(names: Sequence[str], *columns: Values) -> list[tuple[str, ...]]:
    """Return a row of percentages per name, the highest of the first column first; NaN becomes '-' and comes last."""
    order = np.argsort(-columns[0], kind="stable")  # which puts NaN last
    return [(names[row], *(_percent(column[row]) for column in columns)) for row in order]


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{100 * value:.2f}"
