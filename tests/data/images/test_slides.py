import cv2
import numpy as np
import pytest
import tifffile

from coatseg.data.images.raster import Window
from coatseg.data.images.reading import read_image, read_size
from coatseg.data.images.slides import Scale, read_slide, scale_of
from coatseg.errors import ConfigError, ImageError
from tests.data.slides import LABEL, MICRONS, SIZES, level_pixels, write_pyramid, write_svs

LEVELS = range(len(SIZES))


def as_stored(path, level):
    with tifffile.TiffFile(path) as file:
        return file.series[0].levels[level].asarray()


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_of_a_slide_is_its_stored_pixels(tmp_path, level):
    path = write_svs(tmp_path / "a.svs")
    pixels = read_image(path, 3, scale=Scale(level))
    np.testing.assert_array_equal(pixels, as_stored(path, level))
    assert np.abs(pixels.astype(int) - level_pixels(level)).mean() < 4
    assert read_size(path, 3, scale=Scale(level)) == SIZES[level] == pixels.shape[:2]


@pytest.mark.parametrize("level", LEVELS)
def test_every_window_is_a_cut_of_the_whole_level(tmp_path, level):
    path = write_svs(tmp_path / "a.svs")
    whole = read_image(path, 3, scale=Scale(level))
    random = np.random.default_rng(0)
    for _ in range(50):
        y, x = (int(random.integers(length - 8)) for length in SIZES[level])
        window = Window(y, x, 8, 8)
        np.testing.assert_array_equal(read_slide(path, Scale(level), window), window.cut(whole))


def test_lossless_levels_are_exact(tmp_path):
    path = write_svs(tmp_path / "a.svs", compression="deflate")
    for level in LEVELS:
        np.testing.assert_array_equal(read_image(path, scale=Scale(level)), level_pixels(level))


@pytest.mark.parametrize(("microns", "level"), [(0.5, 0), (MICRONS, 0), (2.0, 1), (2.05, 1), (8.2, 2)])
def test_a_level_is_found_by_its_microns(tmp_path, microns, level):
    assert read_size(write_svs(tmp_path / "a.svs"), 3, scale=Scale(microns=microns)) == SIZES[level]


def test_a_level_that_is_not_there_is_answered_with_those_that_are(tmp_path):
    path = write_svs(tmp_path / "a.svs")
    there = r"0: 301x405, 0.499 microns a pixel; 1: 75x101, 2.0\d* microns a pixel; 2: 18x25, 8.\d* microns a pixel"
    with pytest.raises(ImageError, match=f"a.svs has no level 3, but {there}"):
        read_size(path, 3, scale=Scale(3))
    with pytest.raises(ImageError, match=f"a.svs has no level of 1 microns a pixel, but {there}"):
        read_image(path, 3, scale=Scale(microns=1.0))
    bare = write_svs(tmp_path / "bare.svs", microns=None)
    with pytest.raises(ImageError, match=r"bare.svs does not state its microns a pixel; it has 0: 301x405; 1: 75x101"):
        read_image(bare, 3, scale=Scale(microns=0.5))


@pytest.mark.parametrize("level", LEVELS)
def test_levels_of_a_plain_pyramid(tmp_path, level):
    path = write_pyramid(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(path, 3, scale=Scale(level)), level_pixels(level))
    microns = 0.5 * (SIZES[0][0] * SIZES[0][1] / (SIZES[level][0] * SIZES[level][1])) ** 0.5
    assert read_size(path, 3, scale=Scale(microns=microns)) == SIZES[level]


def test_files_without_levels_say_so(tmp_path):
    path = tmp_path / "a.png"

    cv2.imwrite(str(path), level_pixels(2))
    with pytest.raises(ImageError, match=r"a\.png is no TIFF that has levels"):
        read_image(path, 3, scale=Scale(1))
    assert read_size(path, 3, scale=Scale(0)) == SIZES[2]


def test_a_damaged_slide_is_named(tmp_path):
    path = write_svs(tmp_path / "a.svs")
    content = path.read_bytes()
    path.write_bytes(content[:200])
    with pytest.raises(ImageError, match=r"a\.svs is no TIFF that has levels"):
        read_size(path, 3)
    path.write_bytes(b"")
    with pytest.raises(ImageError, match=r"a\.svs is no TIFF that has levels"):
        read_size(path, 3)
    path.unlink()
    with pytest.raises(ImageError, match=r"a\.svs cannot be read: No such file"):
        read_size(path, 3)


def test_level_and_microns_exclude_each_other():
    assert scale_of(None, None) == Scale(0)
    assert scale_of(2, None) == Scale(2)
    assert scale_of(None, 0.5) == Scale(0, 0.5)
    with pytest.raises(ConfigError, match="both choose a level"):
        scale_of(1, 0.5)


def test_the_thumbnail_the_label_and_the_macro_are_never_read(tmp_path):
    path = write_svs(tmp_path / "a.svs", compression="deflate")
    with tifffile.TiffFile(path) as file:
        assert [series.name for series in file.series] == ["Baseline", "Thumbnail", "Label", "Macro"]
    sizes = []
    for level in LEVELS:
        pixels = read_image(path, 3, scale=Scale(level))
        assert not (pixels == LABEL).all(-1).any()
        sizes.append(pixels.shape[:2])
    assert sizes == list(SIZES)
    with pytest.raises(ImageError, match="has no level 3"):
        read_image(path, 3, scale=Scale(3))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_levels_keep_their_depth(tmp_path, dtype):
    levels = [(level_pixels(level)[..., 0] * dtype(1)).astype(dtype) for level in LEVELS]
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for level, pixels in enumerate(levels):
            file.write(pixels, tile=(64, 64), photometric="minisblack", subfiletype=min(level, 1), metadata=None)
    read = read_image(tmp_path / "a.tif", 1, scale=Scale(1))
    np.testing.assert_array_equal(read[..., 0], levels[1])
    assert read.dtype == dtype


def test_levels_of_jpeg_2000_in_rgb(tmp_path):
    lossless = {"compression": "jpeg2000", "compressionargs": {"level": 0, "reversible": True}}
    path = write_pyramid(tmp_path / "a.tif", **lossless)
    np.testing.assert_array_equal(read_image(path, 3, scale=Scale(1)), level_pixels(1))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"compression": 33003}, "RGB, compressed by APERIO_JP2000_YCBC"),
        ({"photometric": "miniswhite"}, "MINISWHITE"),
        ({"photometric": "ycbcr", "compression": None}, "YCBCR, compressed by NONE"),
    ],
)
def test_levels_in_other_colours_are_refused(tmp_path, options, said):
    pixels = level_pixels(0)[..., 0] if options.get("photometric") == "miniswhite" else level_pixels(0)
    with tifffile.TiffWriter(tmp_path / "a.svs") as file:
        file.write(pixels, tile=(64, 64), metadata=None, **{"photometric": "rgb", **options})
    with pytest.raises(ImageError, match=f"a.svs has levels that are not read: .*{said}"):
        read_size(tmp_path / "a.svs", 3)


def test_the_depth_that_a_file_states_is_that_of_its_levels(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for level in (0, 1):
            pixels = np.full((64 >> level, 64 >> level), 4095, np.uint16)
            pixels[0, 0] = 1
            depth = [(281, "H", 1, 4095, True)]
            file.write(
                pixels, tile=(16, 16), photometric="minisblack", subfiletype=level, metadata=None, extratags=depth
            )
    for scale in (Scale(0), Scale(1)):
        read = read_image(tmp_path / "a.tif", 1, scale=scale)
        assert (read[0, 0, 0], read[0, 1, 0]) == (16, 65535)  # 65535 / 4095 = 16.004
        assert read_image(tmp_path / "a.tif", 1, window=Window(0, 0, 2, 2), scale=scale)[0, 1, 0] == 65535


def test_alpha_of_a_level_is_dropped_and_another_fourth_channel_is_not(tmp_path):
    for name, kind in (("alpha", "unassalpha"), ("other", "unspecified")):
        with tifffile.TiffWriter(tmp_path / f"{name}.tif") as file:
            for level in (0, 1):
                pixels = np.dstack([level_pixels(level), level_pixels(level)[..., :1]])
                options = {"photometric": "rgb", "extrasamples": [kind], "subfiletype": level, "metadata": None}
                file.write(pixels, tile=(64, 64), **options)
    for level in (0, 1):
        read = read_image(tmp_path / "alpha.tif", 3, scale=Scale(level))
        np.testing.assert_array_equal(read, level_pixels(level))
        for call in (read_image, read_size):
            with pytest.raises(ImageError, match="does not say that the last one is alpha"):
                call(tmp_path / "other.tif", 3, scale=Scale(level))


def test_levels_on_their_side_are_refused(tmp_path):
    path = write_pyramid(tmp_path / "a.tif", extratags=[(274, "H", 1, 6, True)])
    with pytest.raises(ImageError, match=r"has levels that are not read: .*stored on their side or mirrored"):
        read_size(path, 3, scale=Scale(1))
