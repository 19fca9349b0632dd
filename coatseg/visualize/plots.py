"""Plots of scores as PNG files: confusion matrices, bars of each class, precision over recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from coatseg.metrics.average_precision import RECALLS, CocoScores
from coatseg.metrics.confusion import SemanticScores
from coatseg.metrics.means import Values
from coatseg.metrics.multilabel import LayerScores
from coatseg.metrics.panoptic import GROUPS, PanopticScores
from coatseg.system.atomic import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_BARS = 60
"""With more classes than this, their bars become thinner."""

MOST_CURVES = 10
"""With more classes than this, only the curves averaged over them are drawn."""


def save_confusion(scores: SemanticScores, path: Path) -> None:
    """Plot the confusion matrix, each row (a true class) as shares that sum to one."""
    from matplotlib.figure import Figure

    classes = len(scores.classes)
    with np.errstate(invalid="ignore"):
        shares = scores.confusion / scores.confusion.sum(1, keepdims=True)
    side = 2.5 + 0.5 * min(classes, 40)
    figure = Figure(figsize=(side, side), layout="constrained", dpi=110)
    axes = figure.add_subplot()
    axes.imshow(np.nan_to_num(shares), cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(classes), scores.classes, rotation=90)
    axes.set_yticks(range(classes), scores.classes)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_title(f"Share of each true class's pixels (mIoU {scores.mean_iou:.3f})", fontsize=10)
    if classes <= 40:
        for row, column in np.argwhere(np.nan_to_num(shares) >= 0.005):
            share = shares[row, column]
            ink = "white" if share > 0.5 else "black"
            axes.text(column, row, f"{share:.2f}".lstrip("0"), ha="center", va="center", color=ink, fontsize=7)
    with whole_file(path) as file:
        figure.savefig(file, format="png")


def save_bars(scores: LayerScores, path: Path) -> None:
    """Plot the IoU, precision and recall of each class as bars."""
    from matplotlib.figure import Figure

    classes = len(scores.classes)
    figure = Figure(figsize=(6, 1.5 + 0.45 * min(classes, MOST_BARS)), layout="constrained", dpi=110)
    axes = figure.add_subplot()
    _draw_bars(axes, scores.classes, {"IoU": scores.iou, "precision": scores.precision, "recall": scores.recall})
    axes.set_title(f"Scores of each class (mIoU {scores.mean_iou:.3f}, mean Dice {scores.mean_dice:.3f})", fontsize=10)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    with whole_file(path) as file:
        figure.savefig(file, format="png")


def save_panoptic(scores: PanopticScores, path: Path) -> None:
    """Plot the PQ, SQ and RQ of each class that counts as bars, things above stuff, the best PQ of each first."""
    from matplotlib.figure import Figure

    means, qualities = scores.summary(), {"PQ": scores.pq, "SQ": scores.sq, "RQ": scores.rq}
    groups = {group: [number for number in scores.ranked(group) if not np.isnan(scores.pq[number])] for group in GROUPS}
    shown = {group: numbers for group, numbers in groups.items() if numbers} or groups
    row = 0.45 * min(1, MOST_BARS / max(1, sum(map(len, shown.values()))))
    heights = [1 + row * len(numbers) for numbers in shown.values()]
    figure = Figure(figsize=(6, 0.8 + sum(heights)), layout="constrained", dpi=110)
    parts = figure.subplots(len(shown), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (group, numbers) in zip(parts, shown.items(), strict=True):
        names = [scores.classes[number] for number in numbers]
        _draw_bars(axes, names, {name: values[numbers] for name, values in qualities.items()})
        words = ", ".join(f"{name} {means[f'{name}_{group}']:.3f}" for name in qualities) if numbers else "none"
        axes.set_title(f"{group} ({words})", fontsize=10)
    figure.legend(*parts[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    with whole_file(path) as file:
        figure.savefig(file, format="png")


def _draw_bars(axes: Axes, names: Sequence[str], bars: Mapping[str, Values]) -> None:
    """Draw three scores between 0 and 1 of each name as bars, from above to below."""
    places = np.arange(len(names))
    for number, (name, values) in enumerate(bars.items()):
        axes.barh(places + 0.26 * (number - 1), np.nan_to_num(values), height=0.24, label=name)
    axes.set_yticks(places, names)
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.grid(axis="x", alpha=0.3)


def save_precision_recall(scores: CocoScores, path: Path) -> None:
    """Plot precision over recall, for boxes and masks: averaged over classes and, if they are few, each at IoU 0.5."""
    from matplotlib.figure import Figure

    there = np.flatnonzero(scores.objects)
    columns = 2 if 1 < len(there) <= MOST_CURVES else 1
    figure = Figure(figsize=(5.6 * columns, 4.2 * len(scores.of)), layout="constrained", dpi=110)
    grid = figure.subplots(len(scores.of), columns, squeeze=False)
    for row, (kind, results) in zip(grid, scores.of.items(), strict=True):
        over = "" if len(scores.classes) == 1 else f", mean over {len(there)} classes"
        means = (("IoU 0.50", 0.5), ("IoU 0.75", 0.75), ("IoU 0.50 to 0.95", None))
        drawn = [
            (f"{kind}: precision over recall{over}", [(name, results.curves(iou)[:, there]) for name, iou in means])
        ]
        if columns == 2:
            curves = results.curves(0.5)
            best = there[np.argsort(-results.class_ap(0.5)[there], kind="stable")]
            drawn += [(f"{kind}: each class at IoU 0.50", [(scores.classes[k], curves[:, [k]]) for k in best])]
        for axes, (title, lines) in zip(row, drawn, strict=True):
            for name, curve in lines:
                if curve.size:
                    axes.plot(RECALLS, curve.mean(1), label=f"{name} (AP {curve.mean():.3f})")
            axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
            axes.set_title(title, fontsize=10)
            axes.grid(alpha=0.3)
            if len(there):
                axes.legend(fontsize=8)
            else:
                axes.text(0.5, 0.5, "no objects in the truth", ha="center")
    with whole_file(path) as file:
        figure.savefig(file, format="png")
