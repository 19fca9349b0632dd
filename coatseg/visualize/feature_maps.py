"""Feature maps as pictures: their principal components as colours, and heat maps over the image."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from coatseg.visualize.label_maps import Picture, faded

SHOWN = (1, 99)
"""The percentiles of a component that become black and full colour, so that a few outliers do not dim the rest."""
OPACITY = 0.9
WARM, COLD = np.array((214, 40, 30)), np.array((30, 80, 200))


def principal_components(features: npt.NDArray[np.floating]) -> Picture:
    """Show the first three principal components of a map (C, h, w) as red, green and blue: (h, w, 3).

    They are those of this map alone: colours of two maps cannot be compared. Each is scaled by its percentiles 1 and
    99, and its sign is chosen so that its largest weight is positive. With fewer than three channels, the remaining
    colours stay at mid-grey.
    """
    channels, height, width = features.shape
    rows = features.reshape(channels, -1).T.astype(np.float64)
    rows -= rows.mean(0)
    _, vectors = np.linalg.eigh(rows.T @ rows)
    first = vectors[:, ::-1][:, :3]
    first *= np.sign(first[np.abs(first).argmax(0), np.arange(first.shape[1])])
    components = rows @ first
    low, high = np.percentile(components, SHOWN, axis=0)
    spread = high - low
    varies = spread > 1e-9 * max(spread.max(), np.finfo(np.float64).tiny)  # beyond the rounding of larger components
    picture = np.full((height * width, 3), 0.5)
    picture[:, : len(spread)][:, varies] = ((components - low)[:, varies] / spread[varies]).clip(0, 1)
    return np.asarray((255 * picture).round().astype(np.uint8)).reshape(height, width, 3)


def heat(image: Picture, values: npt.NDArray[np.floating], covers: tuple[float, float] = (1.0, 1.0)) -> Picture:
    """Draw values (h, w) over a pale RGB image: red where they are above their mean, blue where below.

    They cover the shares `covers` of its height and width, from the top left; beyond that the last row and column are
    repeated. The largest difference has full colour, a few outliers aside; if all values are equal the image stays
    pale.
    """
    height, width = image.shape[:2]
    rows, columns = (max(1, round(share * length)) for share, length in zip(covers, (height, width), strict=True))
    spread = cv2.resize(np.asarray(values - values.mean(), np.float32), (columns, rows), interpolation=cv2.INTER_LINEAR)
    spread = np.pad(spread, ((0, height - rows), (0, width - columns)), mode="edge")
    largest = float(np.percentile(np.abs(spread), SHOWN[1])) or 1.0
    weight = (np.abs(spread) / largest).clip(0, 1)[..., None] * OPACITY
    tint = np.where(spread[..., None] > 0, WARM, COLD)
    return np.asarray((faded(image) * (1 - weight) + tint * weight).round().astype(np.uint8))


def marked(image: Picture, x: float, y: float) -> Picture:
    """Mark a point, in pixels, on an RGB image with a cross in a ring."""
    picture = image.copy()
    centre, reach = (int(x), int(y)), max(4, min(image.shape[:2]) // 24)
    for colour, thick in (((255, 255, 255), max(3, reach // 3)), ((214, 40, 30), max(1, reach // 6))):
        cv2.circle(picture, centre, reach, colour, thick, cv2.LINE_AA)
        cv2.drawMarker(picture, centre, colour, cv2.MARKER_CROSS, reach, thick, cv2.LINE_AA)
    return picture
