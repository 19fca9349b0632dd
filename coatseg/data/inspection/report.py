"""Write an inspection to report.md, for people, and to inspection.json, with every place of every finding."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coatseg.data.inspection.checks.base import Finding
from coatseg.data.inspection.reading import Inspection
from coatseg.data.inspection.tables import tables
from coatseg.system.atomic import whole_file

REPORT, DETAILS = "report.md", "inspection.json"
MOST_PLACES = 20
"""At most this many places of a finding are listed in the report; inspection.json has all."""


def write_inspection(folder: Path, inspection: Inspection, pictures: Sequence[tuple[str, str]] = ()) -> Path:
    """Write FOLDER/report.md, whose path is returned, and inspection.json; `pictures` are (caption, relative path)."""
    path = folder / REPORT
    with whole_file(path) as file:
        file.write(markdown(inspection, pictures).encode())
    with whole_file(folder / DETAILS) as file:
        file.write(json.dumps(plain(inspection), indent=1).encode())
    return path


def markdown(inspection: Inspection, pictures: Sequence[tuple[str, str]] = ()) -> str:
    """Return the report as Markdown: what is broken, what is suspicious, what the reader mended, tables, pictures."""
    info = inspection.info
    lines = [
        f"# {info.name}, inspected",
        "",
        f"{len(info.classes)} classes; annotates {', '.join(sorted(info.annotates))}.",
        "",
        *(f"Not looked at: {name} ({why})\n" for name, why in inspection.absent.items()),
    ]
    for title, broken in (("Broken", True), ("Suspicious", False)):
        found = [finding for finding in inspection.findings if finding.broken == broken]
        lines += [f"## {title}", "", *(["Nothing was found.", ""] if not found else [])]
        lines += [line for finding in found for line in _finding(finding)]
    mended = [f"- {split.name}: {repair}" for split in inspection.splits for repair in split.repairs]
    lines += ["## Mended by the reader", "", *mended, ""] if mended else []
    lines += [line for table in tables(inspection) for line in table.markdown()]
    return "\n".join([*lines, *(f"![{caption}]({path})\n" for caption, path in pictures)])


def _finding(finding: Finding) -> list[str]:
    places = [f"- {place}" for place in finding.where[:MOST_PLACES]]
    more = len(finding.where) - len(places)
    places += [f"- and {more} more, in {DETAILS}"] if more else []
    return [f"**{finding.what[0].upper()}{finding.what[1:]}.** {finding.mend}", "", *places, ""]


def plain(inspection: Inspection) -> dict[str, Any]:
    """Return an inspection as plain containers, for JSON."""
    return {
        "dataset": inspection.info.name,
        "classes": list(inspection.info.classes),
        "broken": inspection.broken,
        "findings": [
            {"what": one.what, "mend": one.mend, "broken": one.broken, "where": list(one.where)}
            for one in inspection.findings
        ],
        "splits": {
            split.name: {
                "samples": split.total,
                "read": len(split.samples),
                "unreadable": len(split.unreadable),
                "repairs": list(split.repairs),
                "sizes": [[height, width, count] for (height, width), count in split.sizes.most_common()],
                "mean": None if split.statistics is None else split.statistics[0].tolist(),
                "std": None if split.statistics is None else split.statistics[1].tolist(),
                "class_pixels": split.class_pixels.tolist() if split.labels else None,
                "class_images": split.class_images.tolist(),
                "class_objects": split.class_objects.tolist() if split.objects else None,
                "class_segments": split.class_segments.tolist() if split.segments else None,
                "object_sizes": split.object_sizes if split.objects else None,
            }
            for split in inspection.splits
        },
    }
