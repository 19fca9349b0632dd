"""What came out of an evaluation, as a table for the terminal and as report.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from coatseg.atomic import whole_file
from coatseg.metrics.confusion import SemanticScores
from coatseg.structures import Scores
from coatseg.training.worst import Ranked, WorstImages, save_worst
from coatseg.visualize import save_confusion

PLOTS: dict[type, Callable[[Any, Path], None]] = {SemanticScores: save_confusion}
"""For each kind of scores, what draws them."""


def terminal_table(scores: Scores, title: str) -> Table:
    """Lay out the scores of each class for the terminal."""
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
    sheet: Path | None = None,
    worst: WorstImages | None = None,
) -> Path:
    """Write FOLDER/report.md and FOLDER/pictures/scores.png; `sheet` is a contact sheet below the folder to show.

    With `worst`, which has watched the evaluation, also FOLDER/pictures/worst.png.
    """
    plot = folder / "pictures" / "scores.png"
    PLOTS[type(scores)](scores, plot)
    pictures = [("image, truth, prediction", sheet)] if sheet is not None else []
    pictures.append(("scores", plot))
    found = worst.found if worst is not None else []
    if worst is not None and found:
        pictures.append(("worst images", folder / "pictures" / "worst.png"))
        save_worst(found, worst.info, pictures[-1][1])
    shown = [(caption, path.relative_to(folder)) for caption, path in pictures]
    report = folder / "report.md"
    with whole_file(report) as file:
        file.write(markdown(scores, title, facts, shown, found).encode())
    return report


def markdown(
    scores: Scores,
    title: str,
    facts: Mapping[str, str],
    pictures: Sequence[tuple[str, Path]],
    worst: Sequence[Ranked] = (),
) -> str:
    """Compose the report: facts, means, table per class, definition, worst images, and pictures as (caption, path)."""
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


def worst_list(found: Sequence[Ranked]) -> list[str]:
    """List the worst images as lines of Markdown; none if there are none."""
    if not found:
        return []
    rows = [f"{place}. `{ranked.id}`: {ranked.score:.4f}" for place, ranked in enumerate(found, 1)]
    return ["Worst images, by the mean IoU over the classes in their truth or prediction:", "", *rows, ""]
