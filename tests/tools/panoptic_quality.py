"""Print what panopticapi's evaluation counts, as json; run by a python that has it.

    python tests/tools/panoptic_quality.py FOLDER

FOLDER has the PNG files of truth/ and found/, and evaluations.json with the categories and, by name, pairs of true and
predicted annotations to be evaluated together. Means over no class are null.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from panopticapi.evaluation import pq_compute_single_core

GROUPS = {"": None, "_things": True, "_stuff": False}


def evaluated(folder: Path, pairs: list[Any], categories: dict[int, Any]) -> dict[str, Any]:
    with contextlib.redirect_stdout(sys.stderr):  # its progress
        counts = pq_compute_single_core(0, pairs, str(folder / "truth"), str(folder / "found"), categories)
    means = {}
    for group, things in GROUPS.items():
        try:
            average, _ = counts.pq_average(categories, things)
        except ZeroDivisionError:
            average = dict.fromkeys(("pq", "sq", "rq"))
        means |= {f"{name.upper()}{group}": average[name] for name in ("pq", "sq", "rq")}
    rows = [counts[number] for number in categories]
    return {
        "counts": [[row.tp, row.fp, row.fn] for row in rows],
        "iou": [float(row.iou) for row in rows],
        "means": means,
    }


if __name__ == "__main__":
    root = Path(sys.argv[1])
    given = json.loads((root / "evaluations.json").read_text())
    of_number = {category["id"]: category for category in given["categories"]}
    print(json.dumps({name: evaluated(root, pairs, of_number) for name, pairs in given["evaluations"].items()}))
