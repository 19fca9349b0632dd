"""Where images hold no data, and what takes its place."""

import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coatseg.data.images.statements.nodata import NoData, NoDataOption, check_finite, stated_nodata, without_data
from coatseg.errors import ConfigError, ImageError
from coatseg.registry.options import fitting
from tests.data.rasters import write_tiff


def test_in_floats_one_channel_is_enough_and_nan_counts_too() -> None:
    pixels = np.array([[[1, 2], [-9999, 2], [3, np.nan], [-9999, -9999]]], np.float32)
    assert without_data(pixels, -9999.0).tolist() == [[False, True, True, True]]
    assert without_data(pixels, math.nan).tolist() == [[False, False, True, False]]


def test_in_whole_numbers_all_channels_hold_it_as_in_gdal_s_mask(tmp_path: Path) -> None:
    import rasterio

    pixels = np.array([[[0, 0, 0], [0, 9, 0], [7, 7, 7]]], np.uint8)
    assert without_data(pixels, 0.0).tolist() == [[True, False, False]]
    path = write_tiff(tmp_path / "a.tif", pixels, nodata=0)
    with rasterio.open(path) as raster:
        assert (raster.dataset_mask() == 0).tolist() == [[True, False, False]]
    for held in (math.nan, -1.0, 0.5, 256.0):
        assert not without_data(pixels, held).any()


@pytest.mark.parametrize(("dtype", "filled"), [(np.uint8, 64), (np.uint16, 16384), (np.float32, 0.25)])
def test_the_mean_takes_its_place_and_the_image_stays(dtype: type, filled: float) -> None:
    pixels = np.array([[[3], [5]]], dtype)
    done, where = NoData(3.0, (0.25,)).filled(pixels, 3.0)
    assert done.tolist() == [[[filled], [5]]]
    assert done.dtype == dtype
    assert where is not None
    assert where.tolist() == [[True, False]]
    assert pixels[0, 0, 0] == 3
    same, nowhere = NoData(4.0, (0.25,)).filled(pixels, 4.0)
    assert same is pixels
    assert nowhere is None


@pytest.mark.parametrize("value", [-9999, -3.4028234663852886e38, 0, math.nan])
def test_what_a_file_states_is_read_as_gdal_wrote_it(tmp_path: Path, value: float) -> None:
    path = write_tiff(tmp_path / "a.tif", np.full((4, 5, 2), value, np.float32), nodata=value)
    stated = stated_nodata(path)
    assert stated is not None
    assert without_data(np.full((1, 1, 2), value, np.float32), stated).all()
    assert NoData("stated", (0.5,)).held(path) == pytest.approx(stated, nan_ok=True)


def test_what_is_not_stated_is_nan(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    write_tiff(tmp_path / "b.tif", np.zeros((4, 4, 1), np.float32))
    for path in (tmp_path / "a.png", tmp_path / "b.tif"):
        assert stated_nodata(path) is None
        assert math.isnan(NoData("stated", (0.5,)).held(path))


def test_the_option_takes_a_number_nan_or_what_is_stated() -> None:
    assert fitting(math.nan, NoDataOption, "data.nodata") == fitting("nan", NoDataOption, "data.nodata") == "nan"
    assert fitting("stated", NoDataOption, "data.nodata") == "stated"
    assert fitting(-9999, NoDataOption, "data.nodata") == -9999
    assert fitting(None, NoDataOption, "data.nodata") is None
    with pytest.raises(ConfigError, match=r"data\.nodata=none") as raised:
        fitting("none", NoDataOption, "data.nodata")
    assert "a number, or nan" in raised.value.mend


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(value: float) -> None:
    check_finite("a.tif", np.zeros((2, 2, 1), np.uint16))
    with pytest.raises(ImageError, match=r"a\.tif has pixels that are no numbers"):
        check_finite("a.tif", np.array([[[1.0], [value]]], np.float32))


def test_a_double_that_floats_do_not_hold_is_there_infinite() -> None:
    pixels = np.array([[[-np.inf], [1]]], np.float32)
    assert without_data(pixels, -1.7976931348623157e308).tolist() == [[True, False]]


def test_a_number_that_a_palette_gives_a_colour_is_refused(tmp_path: Path) -> None:
    picture = Image.fromarray(np.zeros((4, 4), np.uint8), "P")
    picture.putpalette([9, 200, 30])
    picture.save(tmp_path / "a.tif", tiffinfo={42113: "0"})
    assert stated_nodata(tmp_path / "a.tif") is None
    with pytest.raises(ImageError, match="states 0 for no data, which its palette gives a colour"):
        NoData("stated", (0.5,) * 3).held(tmp_path / "a.tif")
