"""Pictures for people: coloured label maps, overlays, contact sheets, confusion matrices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from coatseg.atomic import whole_file
from coatseg.metrics.confusion import SemanticScores
from coatseg.metrics.layers import LayerScores
from coatseg.structures import DatasetInfo, Size

Picture = npt.NDArray[np.uint8]

WHITE = (255, 255, 255)
BLACK = (0, 0, 0)
GAP = 4
RED = (225, 30, 30)
CAPTION_HEIGHT = 22


def colour(label_map: npt.NDArray[np.integer], info: DatasetInfo) -> Picture:
    """Paint a label map (H, W) with the palette: (H, W, 3) RGB; what is ignored stays black."""
    table = np.zeros((max(info.ignore_index, len(info.palette) - 1) + 1, 3), dtype=np.uint8)
    table[: len(info.palette)] = info.palette
    if info.ignore_index >= len(info.palette):
        table[info.ignore_index] = BLACK
    painted: Picture = table[label_map]
    return painted


def topmost(layers: npt.NDArray[np.integer | np.bool_], info: DatasetInfo) -> npt.NDArray[np.int64]:
    """Make a label map (H, W) to paint of layers (K, H, W): later classes over earlier ones, ignored where none is."""
    label_map = np.full(layers.shape[1:], info.ignore_index)
    for number, layer in enumerate(layers):
        label_map[layer == 1] = number
    return label_map


def overlay(image: Picture, label_map: npt.NDArray[np.integer], info: DatasetInfo, opacity: float = 0.5) -> Picture:
    """Blend an RGB image with its coloured label map; ignored pixels show the image."""
    painted = cv2.addWeighted(image, 1 - opacity, colour(label_map, info), opacity, 0)
    painted[label_map == info.ignore_index] = image[label_map == info.ignore_index]
    return np.asarray(painted, dtype=np.uint8)


def mistakes(image: Picture, wrong: npt.NDArray[np.bool_], ignored: npt.NDArray[np.bool_]) -> Picture:
    """Tint the wrong pixels (H, W) of an RGB image red, the others pale grey; what is ignored is black."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    pale, red = (cv2.addWeighted(grey, 0.4, np.full_like(grey, tint), 0.6, 0) for tint in (WHITE, RED))
    marked: Picture = np.where(wrong[..., None], red, pale).astype(np.uint8)
    marked[ignored] = BLACK
    return marked


def contact_sheet(
    rows: Sequence[Sequence[Picture]], captions: Sequence[str], width: int = 320, titles: Sequence[str] = ()
) -> Picture:
    """Lay out rows of RGB pictures on white, scaled to `width`: a caption over each column, if given a title a row."""
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
    """Resize a picture to a width, its shape kept."""
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    return stretched(picture, (height, width), cv2.INTER_NEAREST)


def stretched(picture: Picture, size: Size, growing: int = cv2.INTER_LINEAR) -> Picture:
    """Resize a picture to a size, such as that of a truth which was not resized with it."""
    if picture.shape[:2] == size:
        return picture
    method = cv2.INTER_AREA if size[1] < picture.shape[1] else growing
    return np.asarray(cv2.resize(picture, size[::-1], interpolation=method), dtype=np.uint8)


def legend(info: DatasetInfo, width: int) -> Picture:
    """Name the classes beside their colours, in as many lines as the width asks for."""
    widest = max(cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)[0][0] for name in info.classes)
    cell = max(120, widest + 32)
    columns = max(1, width // cell)
    lines = -(-len(info.classes) // columns)
    picture = np.full((lines * CAPTION_HEIGHT + GAP, width, 3), WHITE, np.uint8)
    for number, (name, paint) in enumerate(zip(info.classes, info.palette, strict=True)):
        x, y = number % columns * cell + GAP, number // columns * CAPTION_HEIGHT + GAP
        cv2.rectangle(picture, (x, y), (x + 14, y + 14), paint, cv2.FILLED)
        cv2.rectangle(picture, (x, y), (x + 14, y + 14), BLACK, 1)
        cv2.putText(picture, name, (x + 20, y + 12), cv2.FONT_HERSHEY_SIMPLEX, 0.42, BLACK, 1, cv2.LINE_AA)
    return picture


def save_picture(picture: Picture, path: Path) -> None:
    """Write an RGB picture as PNG, whole or not at all."""
    encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
    with whole_file(path) as file:
        file.write(encoded.tobytes())


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


def _write(sheet: Picture, text: str, left: int, baseline: int) -> None:
    cv2.putText(sheet, text, (left, baseline), cv2.FONT_HERSHEY_SIMPLEX, 0.45, BLACK, 1, cv2.LINE_AA)
