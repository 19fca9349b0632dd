"""The lists of classes that annotation tools write, each known by the form of its lines."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from coatseg.structures import Colour


@dataclass(frozen=True)
class ClassLine:
    """What a line says of a class: its name, and the colour or the number that it has in masks, if it says so."""

    name: str
    colour: Colour | None = None
    number: int | None = None


@dataclass(frozen=True)
class ClassForm:
    """A form of class lists: who writes it, its line in words and as a pattern, and its header if it has one.

    A list is of this form if its first line is the header or, where there is none, if any line fits the pattern; then
    every line has to. `black_is_none` says that the tool paints black where no class is and does not list it, and
    `paints_voc` that it paints the colours of PASCAL VOC where a list has none.
    """

    tool: str
    words: str
    pattern: re.Pattern[str]
    parse: Callable[[re.Match[str]], ClassLine]
    header: re.Pattern[str] | None = None
    black_is_none: bool = False
    paints_voc: bool = False

    def fits(self, lines: Sequence[str]) -> bool:
        """Return whether a list of these lines, without blank lines and comments, is of this form."""
        if self.header is not None:
            return bool(self.header.fullmatch(lines[0]))
        return any(self.pattern.fullmatch(line) for line in lines)


def _colour(match: re.Match[str]) -> Colour | None:
    if not match["red"]:
        return None
    return int(match["red"]), int(match["green"]), int(match["blue"])


def _coloured(match: re.Match[str]) -> ClassLine:
    return ClassLine(match["name"].strip(), _colour(match))


def _numbered(match: re.Match[str]) -> ClassLine:
    return ClassLine(match["name"].strip(), number=int(match["number"]))


# labelmap.txt is documented at https://docs.cvat.ai/docs/dataset_management/formats/format-smask; label_colors.txt is
# CamVid's, and datumaro writes it too; _classes.csv is Roboflow's, and class_dict.csv that of CamVid on Kaggle.
CLASS_FORMS = (
    ClassForm(
        "CVAT's and datumaro's labelmap.txt",
        "name:red,green,blue:parts:actions",
        re.compile(r"(?P<name>[^:]+):(?:(?P<red>\d+)\s*,\s*(?P<green>\d+)\s*,\s*(?P<blue>\d+))?\s*:[^:]*:[^:]*"),
        _coloured,
        paints_voc=True,
    ),
    ClassForm(
        "CamVid's and datumaro's label_colors.txt",
        "red green blue name",
        re.compile(r"(?P<red>\d+)\s+(?P<green>\d+)\s+(?P<blue>\d+)\s+(?P<name>.*[^\W\d].*)"),
        _coloured,
        black_is_none=True,
    ),
    ClassForm(
        "Roboflow's _classes.csv",
        "number, name",
        re.compile(r"(?P<number>\d+)\s*,(?P<name>.+)"),
        _numbered,
        header=re.compile(r"pixel value\s*,\s*class", re.IGNORECASE),
    ),
    ClassForm(
        "a class_dict.csv",
        "name,red,green,blue",
        re.compile(r"(?P<name>[^,]+),\s*(?P<red>\d+)\s*,\s*(?P<green>\d+)\s*,\s*(?P<blue>\d+)"),
        _coloured,
        header=re.compile(r"name\s*,\s*r\s*,\s*g\s*,\s*b", re.IGNORECASE),
    ),
)
