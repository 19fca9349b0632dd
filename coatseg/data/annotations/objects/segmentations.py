"""The masks of COCO's annotations, stored as polygons and run lengths until they are painted.

The format: https://cocodataset.org/#format-data, section 1; the coding of compressed run lengths is that of
pycocotools, maskApi.c, rleToString.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import faster_coco_eval.core.mask as coco_masks
import numpy as np
import numpy.typing as npt

from coatseg.data.annotations.objects.mask_windows import cut_counts, shifted
from coatseg.data.images.raster import Window
from coatseg.structures import Size

Counts = npt.NDArray[np.int64]

HUNDREDTHS = 100.0
LARGEST_COORDINATE = 1e6


class SegmentationError(ValueError):
    """A mask that makes no sense: the number of its annotation, and what is wrong, in words that follow its name."""

    def __init__(self, number: int, what: str) -> None:
        super().__init__(number, what)
        self.number = number
        self.what = what


@dataclass(frozen=True)
class Segmentations:
    """The masks of A annotations in five arrays, so that a million of them are passed to worker processes fast.

    Annotation a has the polygons `rings[a]` to `rings[a + 1]`, of which polygon r has the numbers `points[r]` to
    `points[r + 1]` of `coordinates`, x and y in turn; or the compressed run lengths `codes[texts[a]:texts[a + 1]]`.
    Coordinates are in hundredths of pixels, int32, if all are exact in them, as COCO's own are; else in pixels.
    """

    rings: npt.NDArray[np.int64]
    points: npt.NDArray[np.int64]
    coordinates: npt.NDArray[np.int32] | npt.NDArray[np.float64]
    texts: npt.NDArray[np.int64]
    codes: npt.NDArray[np.uint8]

    def masks(self, numbers: Iterable[int], size: Size, window: Window | None = None) -> npt.NDArray[np.bool_]:
        """Paint the masks (N, H, W) of an image's annotations at its (height, width), as pycocotools paints them.

        Of a `window` of the image (N, h, w) the pixels are the same, and the rest is not painted.

        Raises:
            SegmentationError: run lengths do not fill the image.
        """
        return painted(self.runs(numbers, size, window), size if window is None else (window.height, window.width))

    def runs(self, numbers: Iterable[int], size: Size, window: Window | None = None) -> list[Counts]:
        """Return the run lengths of masks, column by column and background first, as `masks` paints them.

        Raises:
            SegmentationError: run lengths do not fill the image.
        """
        return [self._counts(number, size, window) for number in numbers]

    def boxes(self, numbers: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the tight boxes (N, 4) of painted masks in images of `sizes` (N, 2); zeros where there is no pixel.

        Raises:
            SegmentationError: run lengths do not fill the image.
        """
        encoded = []
        for number, (height, width) in zip(numbers.tolist(), sizes.tolist(), strict=True):
            text = self.codes[self.texts[number] : self.texts[number + 1]]
            if len(text):
                self._counts(number, (height, width))  # what does not fill the image has no box
                encoded.append({"size": [height, width], "counts": text.tobytes()})
            else:
                encoded.append(self._merged(number, (height, width)))
        boxes = np.array(coco_masks.toBbox(encoded) if encoded else [], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        boxes[(boxes[:, :2] >= boxes[:, 2:]).any(1)] = 0
        return boxes

    @property
    def coded(self) -> npt.NDArray[np.bool_]:
        """Which masks are run lengths, (A,)."""
        return np.diff(self.texts) > 0

    def extents(self) -> npt.NDArray[np.float64]:
        """Return the boxes (A, 4) of the points of all polygons of a mask; NaN where it has none."""
        scale = HUNDREDTHS if self.coordinates.dtype == np.int32 else 1.0
        points = (self.coordinates / scale).reshape(-1, 2)
        begins = self.points[self.rings] // 2
        drawn = np.flatnonzero(np.diff(self.rings) > 0)
        boxes = np.full((len(self.rings) - 1, 4), np.nan)
        if len(drawn):
            # Annotations without polygons have no points between those that have.
            boxes[drawn, :2] = np.minimum.reduceat(points, begins[drawn])
            boxes[drawn, 2:] = np.maximum.reduceat(points, begins[drawn])
        return boxes

    def _counts(self, number: int, size: Size, window: Window | None = None) -> Counts:
        text = self.codes[self.texts[number] : self.texts[number + 1]]
        if len(text):
            counts = decode_counts(text)
            if (counts < 0).any() or counts.sum() != size[0] * size[1]:
                raise SegmentationError(number, _unfilled(int(counts.sum()), size))
            return counts if window is None else cut_counts(counts, size[0], window)
        return decode_counts(np.frombuffer(self._merged(number, size, window)["counts"], np.uint8))

    def _merged(self, number: int, size: Size, window: Window | None = None) -> Any:
        """Return the compressed run lengths of a mask of polygons."""
        polygons = [self._polygon(ring, window) for ring in range(self.rings[number], self.rings[number + 1])]
        height, width = size if window is None else (window.height, window.width)
        coded = coco_masks.frPyObjects(polygons, height, width)
        return coded[0] if len(coded) == 1 else coco_masks.merge(coded)

    def _polygon(self, ring: int, window: Window | None) -> list[float]:
        numbers = self.coordinates[self.points[ring] : self.points[ring + 1]]
        pixels = numbers / (HUNDREDTHS if numbers.dtype == np.int32 else 1.0)
        polygon: list[float] = (pixels if window is None else shifted(pixels, window)).tolist()
        return polygon


class SegmentationColumn:
    """Collects the segmentations of annotations, one after the other, into `Segmentations`."""

    def __init__(self) -> None:
        self._rings, self._points, self._texts = array("q", [0]), array("q", [0]), array("q", [0])
        self._coordinates = array("d")
        self._codes = bytearray()
        self.short_polygons: list[int] = []
        """The number of the annotation of each polygon of fewer than three points; all of these are left out."""

    def add(self, segmentation: Any, size: Size) -> bool:
        """Add the next annotation's segmentation in an image of this (height, width); return whether it has a mask.

        Raises:
            SegmentationError: it is neither polygons nor run lengths, or is of another size.
        """
        polygons, codes = len(self._points), len(self._codes)
        if isinstance(segmentation, dict):
            self._codes += self._compressed(segmentation, size)
        elif isinstance(segmentation, list):
            for polygon in segmentation:
                self._add_polygon(polygon)
        elif segmentation is not None:
            raise self._error(f"has a {type(segmentation).__name__} as segmentation, not polygons or run lengths")
        self._texts.append(len(self._codes))
        self._rings.append(len(self._points) - 1)
        return len(self._points) > polygons or len(self._codes) > codes

    def _add_polygon(self, polygon: Any) -> None:
        if not isinstance(polygon, list):
            raise self._error("has a polygon that is no list of numbers, x and y in turn")
        if len(polygon) % 2:
            raise self._error(f"has a polygon of {len(polygon)} numbers, which are no pairs of x and y")
        if len(polygon) < 6:
            self.short_polygons.append(len(self._rings) - 1)
            return
        try:
            self._coordinates.extend(polygon)
        except TypeError as error:
            raise self._error("has a polygon of something else than numbers") from error
        except OverflowError as error:
            raise self._error("has a polygon with a coordinate too large for a number") from error
        self._points.append(len(self._coordinates))

    def _compressed(self, stated: Mapping[str, Any], size: Size) -> bytes:
        """Return run lengths as compressed text; raises if uncompressed ones do not fill the image.

        Those that are compressed already are checked when they are painted.
        """
        if "size" not in stated or "counts" not in stated:
            raise self._error("has run lengths without size or counts")
        if stated["size"] != list(size):
            raise self._error(f"has run lengths of the size {stated['size']}, and its image is {list(size)}")
        counts = stated["counts"]
        if isinstance(counts, str):
            if not counts or not counts.isascii():
                raise self._error("has compressed run lengths that are no ASCII text")
            return counts.encode()
        if not isinstance(counts, list) or not all(isinstance(count, int) and count >= 0 for count in counts):
            raise self._error("has run lengths that are no counts of pixels")
        if sum(counts) != size[0] * size[1]:
            raise self._error(_unfilled(sum(counts), size))
        text: bytes = coco_masks.frPyObjects({"size": list(size), "counts": counts}, *size)["counts"]
        return text

    def _error(self, what: str) -> SegmentationError:
        return SegmentationError(len(self._rings) - 1, what)

    def collected(self) -> Segmentations:
        """Return all segmentations that were added.

        Raises:
            SegmentationError: a coordinate is larger than that of any image, or not a number.
        """
        rings, points, texts = (np.array(column, np.int64) for column in (self._rings, self._points, self._texts))
        coordinates = np.array(self._coordinates)
        wrong = ~(np.abs(coordinates) < LARGEST_COORDINATE)  # not a number is wrong too
        if wrong.any():
            ring = np.searchsorted(points, wrong.argmax(), "right") - 1
            number = int(np.searchsorted(rings, ring, "right")) - 1
            raise SegmentationError(number, f"has a polygon with the coordinate {coordinates[wrong.argmax()]:g}")
        whole = np.rint(coordinates * HUNDREDTHS)
        exact = bool((whole / HUNDREDTHS == coordinates).all())
        kept = whole.astype(np.int32) if exact else coordinates
        return Segmentations(rings, points, kept, texts, np.frombuffer(bytes(self._codes), np.uint8))


def decode_counts(codes: npt.NDArray[np.uint8]) -> Counts:
    """Decode compressed run lengths: groups of 5 bits, lowest first, of the difference to the count before the last.

    The text is not checked: one that makes no sense is decoded to counts that make none.
    """
    bits = codes.astype(np.int64) - 48
    last = (bits & 0x20) == 0
    first = np.flatnonzero(np.concatenate([[True], last[:-1]]))
    ends = np.concatenate([first[1:], [len(bits)]])
    place = np.minimum(np.arange(len(bits)) - np.repeat(first, ends - first), 11)
    differences = np.add.reduceat((bits & 0x1F) << (5 * place), first)
    negative = (bits[ends - 1] & 0x10) != 0
    differences[negative] -= 1 << (5 * (place[ends - 1][negative] + 1))
    counts = differences.copy()
    for begin in (1, 2):
        counts[begin::2] = np.cumsum(differences[begin::2])
    return counts


def painted(runs: Sequence[Counts], size: Size) -> npt.NDArray[np.bool_]:
    """Paint run lengths as masks (N, H, W)."""
    masks = np.zeros((len(runs), *size), np.uint8)
    for mask, counts in zip(masks, runs, strict=True):
        _paint(mask, counts)
    return masks.view(bool)


def _paint(mask: npt.NDArray[np.uint8], counts: Counts) -> None:
    """Write 1 for every second run, column by column, into (H, W) zeros; several times as fast as libraries do it."""
    counts = counts[: len(counts) // 2 * 2]  # what follows the last run of the object is background
    if not counts[1::2].any():
        return
    height, edges = mask.shape[0], np.cumsum(counts)
    starts, ends = edges[::2], edges[1::2]
    first, last = int(starts[0]) // height, -(-int(ends[-1]) // height)
    block = np.zeros((last - first) * height, np.uint8)
    values = (np.arange(len(counts)) % 2).astype(np.uint8)
    counts = np.concatenate([[starts[0] - first * height], counts[1:]])
    block[: int(ends[-1]) - first * height] = np.repeat(values, counts)
    # Rows without the object are left alone, as memory that is not touched costs nothing.
    whole = (starts // height != (ends - 1) // height).any()
    top, bottom = (0, height) if whole else (int((starts % height).min()), int(((ends - 1) % height).max()) + 1)
    mask[top:bottom, first:last] = cv2.transpose(block.reshape(last - first, height)[:, top:bottom])


def _unfilled(pixels: int, size: Size) -> str:
    return f"has run lengths of {pixels} pixels, and its image has {size[0] * size[1]}"
