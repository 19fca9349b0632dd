"""Plots of scores: confusion matrices and bars."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from coatseg.atomic import whole_file
from coatseg.metrics.confusion import SemanticScores
from coatseg.metrics.layers import LayerScores


def save_confusion(scores: SemanticScores, path: Path) -> None:
    """Draw the confusion matrix, each row (a true class) as shares that sum to one."""
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
    """Draw a bar a class for each of IoU, precision and recall."""
    from matplotlib.figure import Figure

    classes = len(scores.classes)
    figure = Figure(figsize=(6, 1.5 + 0.45 * min(classes, 60)), layout="constrained", dpi=110)
    axes = figure.add_subplot()
    places = np.arange(classes)
    bars = {"IoU": scores.iou, "precision": scores.precision, "recall": scores.recall}
    for number, (name, values) in enumerate(bars.items()):
        axes.barh(places + 0.26 * (number - 1), np.nan_to_num(values), height=0.24, label=name)
    axes.set_yticks(places, scores.classes)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.grid(axis="x", alpha=0.3)
    axes.set_title(f"Scores of each class (mIoU {scores.mean_iou:.3f}, mean Dice {scores.mean_dice:.3f})", fontsize=10)
    figure.legend(loc="outside lower center", ncols=len(bars), frameon=False)
    with whole_file(path) as file:
        figure.savefig(file, format="png")
