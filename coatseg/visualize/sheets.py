"""Lay out pictures in rows and columns under captions, draw legends, and write PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from coatseg.structures import DatasetInfo
from coatseg.system.atomic import whole_file
from coatseg.visualize.label_maps import BLACK, WHITE, Picture

GAP = 4
CAPTION_HEIGHT = 22
FONT = cv2.FONT_HERSHEY_SIMPLEX


def contact_sheet(
    rows: Sequence[Sequence[Picture]], captions: Sequence[str], width: int = 320, titles: Sequence[str] = ()
) -> Picture:
    """Lay out rows of RGB pictures on white, scaled to `width`, with a caption per column and, if given, row titles."""
    cells = [[scaled(picture, width) for picture in row] for row in rows]
    sheet_width = len(captions) * (width + GAP) + GAP
    heights = [max(picture.shape[0] for picture in row) for row in cells]
    line = CAPTION_HEIGHT if titles else 0
    sheet = np.full((CAPTION_HEIGHT + sum(line + height + GAP for height in heights), sheet_width, 3), WHITE, np.uint8)
    for column, caption in enumerate(captions):
        _write(sheet, caption, GAP + column * (width + GAP), CAPTION_HEIGHT - 7)
    top = CAPTION_HEIGHT
    for number, (row, height) in enumerate(zip(cells, heights, strict=True)):
        if titles:
            _write(sheet, titles[number], GAP, top + CAPTION_HEIGHT - 7)
            top += line
        for column, picture in enumerate(row):
            left = GAP + column * (width + GAP)
            sheet[top : top + picture.shape[0], left : left + width] = picture
        top += height + GAP
    return sheet


def scaled(picture: Picture, width: int) -> Picture:
    """Resize a picture to a width, keeping its aspect ratio."""
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    method = cv2.INTER_AREA if width < picture.shape[1] else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(picture, (width, height), interpolation=method), dtype=np.uint8)


def legend(info: DatasetInfo, width: int, numbers: Sequence[int]) -> Picture:
    """Draw the names of the classes of these numbers beside their colours, in as many lines as the width requires."""
    widest = max((cv2.getTextSize(info.classes[number], FONT, 0.42, 1)[0][0] for number in numbers), default=0)
    cell = max(120, widest + 32)
    columns = max(1, width // cell)
    lines = -(-len(numbers) // columns)
    picture = np.full((lines * CAPTION_HEIGHT + GAP, width, 3), WHITE, np.uint8)
    for place, number in enumerate(numbers):
        x, y = place % columns * cell + GAP, place // columns * CAPTION_HEIGHT + GAP
        cv2.rectangle(picture, (x, y), (x + 14, y + 14), info.palette[number], cv2.FILLED)
        cv2.rectangle(picture, (x, y), (x + 14, y + 14), BLACK, 1)
        cv2.putText(picture, info.classes[number], (x + 20, y + 12), FONT, 0.42, BLACK, 1, cv2.LINE_AA)
    return picture


def save_picture(picture: Picture, path: Path) -> None:
    """Write an RGB picture as PNG, whole or not at all."""
    with whole_file(path) as file:
        file.write(encode_picture(picture))


def encode_picture(picture: Picture) -> bytes:
    """Return an RGB picture as the bytes of a PNG file."""
    return cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()


def _write(sheet: Picture, text: str, left: int, baseline: int) -> None:
    cv2.putText(sheet, text, (left, baseline), FONT, 0.45, BLACK, 1, cv2.LINE_AA)
