"""The table of the paper's ablations (CPE, CRPE, co-scale) on scenes, from the runs of one multirun.

    python train.py -m 'experiment=glob(ablation_*)' seed=0,1,2 output=runs/ablation
    python -m benchmarks.ablation runs/ablation

Prints a row an experiment: the best validation mIoU of each seed, their mean and their spread (standard deviation).
"""

from __future__ import annotations

import argparse
import csv
import statistics
from collections import defaultdict
from pathlib import Path

import yaml


def best_score(run: Path) -> float:
    """Return the highest mIoU of a run's validations."""
    with (run / "metrics.csv").open(newline="") as file:
        return max(float(row["val/mIoU"]) for row in csv.DictReader(file) if row.get("val/mIoU"))


def scores_by_row(folder: Path) -> dict[str, dict[int, float]]:
    """Return experiment -> seed -> mIoU for every finished run of a folder."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for report in sorted(folder.glob("*/report.md")):  # written at the very end
        run = report.parent
        seed = yaml.safe_load((run / "config.yaml").read_text())["seed"]
        found[run.name.rpartition("-")[0]][seed] = best_score(run)
    return found


def table(rows: dict[str, dict[int, float]]) -> str:
    """Return the scores as a Markdown table."""
    seeds = sorted({seed for scores in rows.values() for seed in scores})
    lines = [
        f"| experiment | {' | '.join(f'seed {seed}' for seed in seeds)} | mean | spread |",
        f"|---|{'---:|' * (len(seeds) + 2)}",
    ]
    for name, scores in rows.items():
        values = list(scores.values())
        spread = f"{statistics.stdev(values):.3f}" if len(values) > 1 else "-"
        cells = [f"{scores[seed]:.3f}" if seed in scores else "-" for seed in seeds]
        lines.append(f"| {name} | {' | '.join(cells)} | {statistics.mean(values):.3f} | {spread} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table of a folder of runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the multirun's output")
    print(table(scores_by_row(parser.parse_args().folder)))


if __name__ == "__main__":
    main()
