"""Masks of whole numbers in floats are class numbers, and nodata and nan are what is not known."""

from pathlib import Path

import numpy as np
import pytest

from coatseg.data.images.raster import Window
from coatseg.data.images.reading import LabelMaps, read_label_map
from coatseg.errors import DatasetError
from tests.data.rasters import write_tiff

WINDOW = Window(0, 1, 2, 2)
NAN = np.nan


def write(path: Path, values: list, dtype: str, **options: object) -> Path:
    return write_tiff(path, np.array(values, dtype)[..., None], **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_whole_numbers_in_floats_are_class_numbers(tmp_path: Path, dtype: str) -> None:
    """QGIS rasterizes to Float32."""
    path = write(tmp_path / "a.tif", [[0, 1, 2], [3, 2, 70000]], dtype)
    read = read_label_map(path)
    assert read.dtype == np.int32
    assert read.tolist() == [[0, 1, 2], [3, 2, 70000]]
    assert read_label_map(path, WINDOW).tolist() == [[1, 2], [2, 70000]]


@pytest.mark.parametrize("nodata", [-9999.0, -3.4028234663852886e38, NAN, 9.0])
def test_nan_and_nodata_in_floats_are_ignored(tmp_path: Path, nodata: float) -> None:
    path = write(tmp_path / "a.tif", [[0, NAN, nodata], [1, nodata, 2]], "float32", nodata=nodata)
    assert read_label_map(path, ignore_index=255, classes=3).tolist() == [[0, 255, 255], [1, 255, 2]]
    assert LabelMaps(3, 255)(path, WINDOW).tolist() == [[255, 255], [255, 2]]


def test_a_number_that_is_not_whole_is_named_with_its_place(tmp_path: Path) -> None:
    for wrong in (0.5, NAN, np.inf, 1e20):
        path = write(tmp_path / "a.tif", [[0, 1, 2], [1, wrong, 2]], "float32")
        for window in (None, WINDOW):
            with pytest.raises(
                DatasetError, match=rf"a.tif has float32 pixels.*: {wrong:g}, first at \(x=1, y=1\)".replace("+", r"\+")
            ):
                read_label_map(path, window)


@pytest.mark.parametrize(
    ("dtype", "nodata", "number"), [("int16", -9999, -9999), ("int8", -1, -1), ("uint8", 255, 255), ("uint16", 4, 4)]
)
def test_the_nodata_value_of_whole_numbers_is_ignored(tmp_path: Path, dtype: str, nodata: int, number: int) -> None:
    path = write(tmp_path / "a.tif", [[0, 1, number], [number, 2, 3]], dtype, nodata=nodata)
    for ignore_index in (255, 200, -9999):
        expected = [[0, 1, ignore_index], [ignore_index, 2, 3]]
        assert read_label_map(path, ignore_index=ignore_index, classes=4).tolist() == expected
    assert read_label_map(path).tolist() == [[0, 1, number], [number, 2, 3]]


def test_a_nodata_value_that_is_a_class_is_that_class(tmp_path: Path) -> None:
    for dtype in ("uint8", "float32"):
        path = write(tmp_path / "a.tif", [[0, 1], [2, 0]], dtype, nodata=0)
        assert read_label_map(path, ignore_index=255, classes=3).tolist() == [[0, 1], [2, 0]]
        assert read_label_map(path, ignore_index=255).tolist() == [[255, 1], [2, 255]]
