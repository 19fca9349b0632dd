"""Draw docs/schedules.png: every learning rate schedule, by step and by epoch.

    python -m docs.plot_schedules

Run it again whenever a schedule changes.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from coatseg.training.optimization import schedules
from coatseg.training.optimization.schedules import By, Schedule, Timing

TARGET = Path(__file__).parent / "schedules.png"
EPOCHS, EPOCH = 12, 100
TOTAL = EPOCHS * EPOCH
WARMUP = 1 / EPOCHS


def table(by: By) -> dict[str, Schedule]:
    """Return every schedule, with the options that it is drawn with."""
    run = {"total": TOTAL, "epoch": EPOCH}
    warm = {**run, "timing": Timing(warmup=WARMUP, by=by)}
    return {
        "constant": schedules.constant(**warm),
        "poly": schedules.poly(**warm),
        "cosine": schedules.cosine(**warm),
        "multistep": schedules.multistep(**warm, milestones=[8 / EPOCHS, 11 / EPOCHS]),
        "onecycle": schedules.onecycle(**run, by=by),
    }


def draw(axes: Axes, by: By) -> None:
    """Draw all schedules over the epochs."""
    for name, factor in table(by).items():
        axes.plot([step / EPOCH for step in range(TOTAL)], [factor(step) for step in range(TOTAL)], label=name, lw=2)
    axes.set(title=f"schedule.by={by}", xlabel="epoch", xticks=range(0, EPOCHS + 1, 2), xlim=(0, EPOCHS))
    axes.grid(alpha=0.3)


def main() -> None:
    """Draw and save the picture."""
    mpl.use("Agg")
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), sharey=True, layout="constrained")
    draw(left, "step")
    draw(right, "epoch")
    left.set_ylabel("factor of optimizer.lr")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    figure.suptitle(f"{EPOCHS} epochs; warm-up over the first (onecycle has its own); milestones at epochs 8 and 11")
    figure.savefig(TARGET, dpi=110)


if __name__ == "__main__":
    main()
