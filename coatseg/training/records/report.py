"""The results of an evaluation: a table for the terminal, report.md and scores.json."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from coatseg.metrics.average_precision import CocoScores
from coatseg.metrics.confusion import SemanticScores
from coatseg.metrics.multilabel import LayerScores
from coatseg.metrics.panoptic import PanopticScores
from coatseg.structures import Scores
from coatseg.system.atomic import whole_file
from coatseg.training.callbacks.worst import WorstImages, save_worst
from coatseg.visualize.plots import save_bars, save_confusion, save_panoptic, save_precision_recall

PLOTS: dict[type, Callable[[Any, Path], None]] = {
    SemanticScores: save_confusion,
    LayerScores: save_bars,
    CocoScores: save_precision_recall,
    PanopticScores: save_panoptic,
}
"""The function that draws each kind of scores."""


def terminal_table(scores: Scores, title: str) -> Table:
    """Return the scores of each class as a table for the terminal."""
    columns, *rows = scores.table()
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    return table


def write_report(
    folder: Path,
    scores: Scores,
    title: str,
    facts: Mapping[str, str],
    pictures: Sequence[tuple[str, Path]] = (),
    worst: WorstImages | None = None,
) -> Path:
    """Write FOLDER/report.md and FOLDER/pictures/scores.png, and return the report's path.

    `pictures` are others below the folder to show, as (caption, path); those that do not exist are left out. With
    `worst`, which has watched the evaluation, FOLDER/pictures/worst.png is written too.
    """
    plot, sheet = folder / "pictures" / "scores.png", folder / "pictures" / "worst.png"
    if type(scores) in PLOTS:  # a task of the user's own may have scores that nothing draws
        PLOTS[type(scores)](scores, plot)
    if worst is not None and worst.found:
        save_worst(worst, sheet)
    drawn = [*pictures, ("scores", plot), *([("worst images", sheet)] if worst is not None and worst.found else [])]
    shown = [(caption, path.relative_to(folder)) for caption, path in drawn if path.exists()]
    report = folder / "report.md"
    with whole_file(report) as file:
        file.write(markdown(scores, title, facts, shown, worst).encode())
    return report


def write_scores(folder: Path, scores: Scores, facts: Mapping[str, Any]) -> Path:
    """Write FOLDER/scores.json for other programs: `facts`, the means by name, and the table of each class.

    The table's numbers are those of the report, in its units. What is undefined is null.
    """
    columns, *rows = scores.table()
    classes = {name: dict(zip(columns[1:], map(_value, cells), strict=True)) for name, *cells in rows}
    means = {name: value if math.isfinite(value) else None for name, value in scores.summary().items()}
    path = folder / "scores.json"
    with whole_file(path) as file:
        file.write(json.dumps({**facts, "summary": means, "classes": classes}, indent=2, allow_nan=False).encode())
    return path


def markdown(
    scores: Scores,
    title: str,
    facts: Mapping[str, str],
    pictures: Sequence[tuple[str, Path]],
    worst: WorstImages | None = None,
) -> str:
    """Return the report: facts, means, table per class, definition, worst images, and pictures as (caption, path)."""
    columns, *rows = scores.table()
    rule = ("---", *("---:" for _ in columns[1:]))
    lines = [
        f"# {title}",
        "",
        *(f"- {name}: {value}" for name, value in facts.items()),
        "",
        f"**{scores.headline()}**",
        "",
        *(f"| {' | '.join(row)} |" for row in (columns, rule, *rows)),
        "",
        scores.definition,
        "",
        *worst_list(worst),
        *(f"![{caption}]({path.as_posix()})\n" for caption, path in pictures),
    ]
    return "\n".join(lines)


def worst_list(worst: WorstImages | None) -> list[str]:
    """Return the worst images as lines of Markdown; no lines if there are no such images."""
    if worst is None or worst.view is None or not worst.found:
        return []
    rows = [f"{place}. `{ranked.id}`: {ranked.score:.4f}" for place, ranked in enumerate(worst.found, 1)]
    return [f"Worst images, by {worst.view.meaning}:", "", *rows, ""]


def _value(cell: str) -> float | str | None:
    """Return the number or the words in a cell of a table; None for "-", which stands for an undefined value."""
    try:
        return None if cell == "-" else float(cell)
    except ValueError:
        return cell
