"""Draw the curves of a run from its metrics.csv: losses, learning rate and the validations' scores over steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from coatseg.system.atomic import whole_file
from coatseg.training.records.metrics_table import read_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Values = npt.NDArray[np.float64]
Curve = tuple[Values, Values]
"""Steps, and the values at them."""

SPANS = 25
"""A smoothed curve averages over about 1 / SPANS of the run."""


def save_curves(table: Path, monitor: str, path: Path) -> bool:
    """Draw the curves of a table of metrics as PNG; `monitor` is the column of the validations' score.

    Returns False, and draws nothing, if the table has no value to draw.
    """
    curves = read_curves(table)
    losses = {name: curve for name, curve in curves.items() if name == "loss" or name.startswith("loss/")}
    rates = {name: curve for name, curve in curves.items() if name == "lr" or name.startswith("lr/")}
    panels = [
        (draw, shown)
        for draw, shown in (
            (draw_losses, losses),
            (draw_score, {monitor: curves[monitor]} if monitor in curves else {}),
            (draw_rates, rates),
        )
        if shown
    ]
    if not panels:
        return False
    from matplotlib.figure import Figure

    heights = [1.6 if draw is draw_losses else 1.0 for draw, _ in panels]
    figure = Figure(figsize=(8, 0.7 + 1.7 * sum(heights)), layout="constrained", dpi=110)
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (draw, shown) in zip(grid, panels, strict=True):
        draw(axes, shown)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    last = max(float(steps[-1]) for _, shown in panels for steps, _ in shown.values())
    grid[-1].set_xlim(0, 1.02 * last)
    grid[-1].set_xlabel("optimizer step")
    figure.align_ylabels()
    with whole_file(path) as file:
        figure.savefig(file, format="png")
    return True


def read_curves(table: Path) -> dict[str, Curve]:
    """Return the columns of a table of metrics that have a finite value, as curves by name, in the order of steps."""
    rows = sorted(read_rows(table), key=lambda row: int(row["step"]))
    curves = {}
    for name in rows[0] if rows else ():
        pairs = np.array([(float(row["step"]), float(row[name])) for row in rows if row[name]])
        finite = pairs[np.isfinite(pairs[:, 1])] if len(pairs) else pairs
        if name != "step" and len(finite):
            curves[name] = (finite[:, 0], finite[:, 1])
    return curves


def smoothed(values: Values) -> Values:
    """Return the values, each averaged with its neighbours; at both ends, with those that there are."""
    reach = len(values) // (2 * SPANS)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    first, end = np.maximum(places - reach, 0), np.minimum(places + reach + 1, len(values))
    averaged: Values = (sums[end] - sums[first]) / (end - first)
    return averaged


def draw_losses(axes: Axes, losses: dict[str, Curve]) -> None:
    """Draw the losses, smoothed over their faint raw values; the total is black."""
    for number, (name, (steps, values)) in enumerate(losses.items()):
        colour, width = ("black", 1.8) if name == "loss" else (f"C{number - 1}", 1.3)
        label = "total" if name == "loss" and len(losses) > 1 else name.removeprefix("loss/")
        axes.plot(steps, values, color=colour, linewidth=0.6, alpha=0.25)
        axes.plot(steps, smoothed(values), color=colour, linewidth=width, label=label, **dots(steps))
    axes.set_ylim(bottom=min(0.0, *(float(values.min()) for _, values in losses.values())))
    axes.set_ylabel("loss")
    name_curves(axes, losses)


def draw_score(axes: Axes, scores: dict[str, Curve]) -> None:
    """Draw the score of each validation, and mark the best."""
    ((name, (steps, values)),) = scores.items()
    best = int(values.argmax())
    axes.plot(steps, values, color="C2", linewidth=1.5, marker="o", markersize=3.5)
    axes.plot(steps[best], values[best], color="C2", marker="o", markersize=9, fillstyle="none")
    axes.set_title(f"best {values[best]:.4f} at step {int(steps[best])}", fontsize=9, loc="right")
    axes.set_ylabel(name)
    if len(steps) == 1:
        axes.set_ylim(bottom=min(0.0, float(values[0])))


def draw_rates(axes: Axes, rates: dict[str, Curve]) -> None:
    """Draw the learning rates."""
    for number, (name, (steps, values)) in enumerate(rates.items()):
        colour = "C4" if len(rates) == 1 else f"C{number}"
        axes.plot(steps, values, color=colour, linewidth=1.5, label=name.removeprefix("lr/"), **dots(steps))
    axes.set_ylim(bottom=0)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    axes.set_ylabel("learning rate")
    name_curves(axes, rates)


def name_curves(axes: Axes, curves: Mapping[str, Curve]) -> None:
    """Add a legend over the axes if there is more than one curve."""
    if len(curves) > 1:
        axes.legend(frameon=False, fontsize=9, ncols=4, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.1)


def dots(steps: Values) -> dict[str, Any]:
    """Return matplotlib's options to mark the points of a curve that is too short to be seen as a line."""
    return {"marker": "o", "markersize": 3.5} if len(steps) <= 3 else {}
