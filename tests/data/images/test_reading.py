import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from coatseg.data.images.reading import ColourMasks, read_image, read_label_map, read_size
from coatseg.errors import DatasetError, ImageError

RNG = np.random.default_rng(0)
RGB = cv2.GaussianBlur(RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8), (5, 5), 0)
RGBA16 = RNG.integers(0, 65536, (20, 30, 4), dtype=np.uint16)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "bmp", "jpg"])
def test_colour_is_read_as_rgb(tmp_path, suffix):
    path = tmp_path / f"image.{suffix}"
    flat = np.full((16, 24, 3), (200, 100, 30), np.uint8)
    Image.fromarray(flat).save(path, **({"lossless": True} if suffix == "webp" else {}))
    image = read_image(path, 3)
    assert image.dtype == np.uint8
    np.testing.assert_allclose(image.astype(int), flat, atol=3 if suffix == "jpg" else 0)
    assert read_size(path, 3) == (16, 24)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_stays_16_bit(tmp_path, suffix, channels):
    path = tmp_path / f"image.{suffix}"
    image = RGBA16[..., :channels]
    cv2.imwrite(str(path), image[..., [2, 1, 0, 3][:channels]] if channels > 1 else image)
    np.testing.assert_array_equal(read_image(path), image)
    assert read_image(path).dtype == np.uint16
    assert read_size(path, channels) == (20, 30)


@pytest.mark.parametrize("channels", [1, 3])
def test_float_tiff_stays_float(tmp_path, channels):
    image = RNG.normal(size=(20, 30, channels)).astype(np.float32)
    cv2.imwrite(str(tmp_path / "image.tif"), image[..., ::-1])
    np.testing.assert_array_equal(read_image(tmp_path / "image.tif", channels), image)
    assert read_size(tmp_path / "image.tif", channels) == (20, 30)


def test_grey_is_repeated_where_rgb_is_stated(tmp_path):
    Image.fromarray(RGB[..., 0]).save(tmp_path / "grey.png")
    assert read_image(tmp_path / "grey.png").shape == (48, 64, 1)
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png", 3), RGB[..., [0, 0, 0]])


def test_alpha_is_dropped_where_rgb_is_stated(tmp_path):
    rgba = np.dstack([RGB, RGB[..., :1]])
    Image.fromarray(rgba).save(tmp_path / "alpha.png")
    np.testing.assert_array_equal(read_image(tmp_path / "alpha.png", 3), RGB)
    np.testing.assert_array_equal(read_image(tmp_path / "alpha.png", 4), rgba)


def test_one_channel_is_taken_of_grey_rgb_but_not_of_colour(tmp_path):
    Image.fromarray(RGB[..., [1, 1, 1]]).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png", 1), RGB[..., 1:2])
    Image.fromarray(RGB).save(tmp_path / "colour.png")
    with pytest.raises(ImageError, match=r"colour.png has 3 channels.*states 1"):
        read_image(tmp_path / "colour.png", 1)


def test_channels_that_are_not_there_are_refused_with_the_option_to_set(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "image.png")
    for read in (read_image, read_size):
        with pytest.raises(ImageError, match=r"(?s)image.png has 3 channels.*data.channels=3"):
            read(tmp_path / "image.png", 4)


def test_palette_images_are_expanded_and_palette_masks_keep_their_indices(tmp_path):
    indices = RNG.integers(0, 3, (10, 12), dtype=np.uint8)
    palette = np.array([(9, 8, 7), (200, 0, 100), (1, 2, 3)], np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes())
    image.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png", 3), palette[indices])
    np.testing.assert_array_equal(read_label_map(tmp_path / "palette.png"), indices)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{suffix}"
    Image.fromarray(RGB).save(path, exif=exif)
    with Image.open(path) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    np.testing.assert_array_equal(read_image(path, 3), expected)
    assert read_size(path, 3) == expected.shape[:2]


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "bmp"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.8, 0.95])
def test_a_truncated_image_is_named_not_half_read(tmp_path, suffix, share):
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(RGB).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(ImageError, match=rf"(?s)cut.{suffix}.*damaged or cut short"):
        read_image(path, 3)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_truncated_16_bit_image_is_named(tmp_path, suffix):
    path = tmp_path / f"cut.{suffix}"
    cv2.imwrite(str(path), RGBA16[..., :3])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError, match=f"cut.{suffix}"):
        read_image(path, 3)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_named(tmp_path, content):
    (tmp_path / "page.png").write_bytes(content)
    for read in (read_image, read_size):
        with pytest.raises(ImageError, match=r"page\.png"):
            read(tmp_path / "page.png", 3)
    with pytest.raises((ImageError, DatasetError), match=r"page\.png"):
        read_label_map(tmp_path / "page.png")


@pytest.mark.parametrize("read", [read_image, read_size, read_label_map])
def test_a_missing_file_is_named(tmp_path, read):
    with pytest.raises(ImageError, match=r"gone\.png cannot be read: No such file"):
        read(tmp_path / "gone.png")


def test_too_many_pixels_are_an_error_of_ours(tmp_path, monkeypatch):
    Image.fromarray(RGB).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for read in (read_image, read_size, read_label_map):
        with pytest.raises(ImageError, match=r"(?s)large.png is too large.*3072 pixels.*tiles"):
            read(tmp_path / "large.png")


def test_the_size_comes_from_the_header_alone(tmp_path):
    Image.fromarray(np.zeros((300, 400, 3), np.uint8)).save(tmp_path / "image.bmp")
    header = (tmp_path / "image.bmp").read_bytes()[:200]
    (tmp_path / "header.bmp").write_bytes(header)
    assert read_size(tmp_path / "header.bmp", 3) == (300, 400)


def test_labels_of_16_bit_are_read_whole(tmp_path):
    labels = np.array([[0, 300], [65535, 7]], np.uint16)
    cv2.imwrite(str(tmp_path / "mask.png"), labels)
    np.testing.assert_array_equal(read_label_map(tmp_path / "mask.png"), labels)


@pytest.mark.parametrize(("bits", "row"), [(4, bytes([0x01, 0xEF])), (2, bytes([0b00011011]))])
def test_labels_of_few_grey_bits_are_as_stored(tmp_path, bits, row):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 4, 1, bits, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" + row)), chunk(b"IEND", b""))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    assert read_label_map(tmp_path / "a.png").tolist() == [[0, 1, 14, 15] if bits == 4 else [0, 1, 2, 3]]


def test_labels_of_one_bit_are_0_and_1(tmp_path):
    labels = np.eye(9, dtype=bool)
    Image.fromarray(labels).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_label_map(tmp_path / "mask.png"), labels.astype(np.uint8))


def test_a_colour_picture_is_no_label_map(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "mask.png")
    with pytest.raises(DatasetError, match=r"(?s)mask.png is a picture of RGB mode.*colour_masks=true"):
        read_label_map(tmp_path / "mask.png")


def test_a_jpeg_is_no_label_map(tmp_path):
    Image.fromarray(RGB[..., 0]).save(tmp_path / "mask.jpg")
    with pytest.raises(DatasetError, match=r"(?s)mask.jpg is a JPEG.*PNG"):
        read_label_map(tmp_path / "mask.jpg")


def test_colours_become_classes(tmp_path):
    colours = np.array([(0, 0, 0), (255, 255, 255), (128, 64, 128)], np.uint8)
    labels = RNG.integers(0, 3, (15, 17))
    Image.fromarray(colours[labels]).save(tmp_path / "mask.png")
    read = ColourMasks((((0, 0, 0), 0), ((255, 255, 255), 255), ((128, 64, 128), 2)))
    np.testing.assert_array_equal(read(tmp_path / "mask.png"), np.array([0, 255, 2])[labels])


@pytest.mark.parametrize("colour", [(1, 2, 3), (255, 255, 255), (0, 0, 0)])
def test_an_unknown_colour_is_named_with_its_place(tmp_path, colour):
    mask = np.full((10, 12, 3), (128, 64, 128), np.uint8)
    mask[3, 7] = mask[5, 2] = colour
    Image.fromarray(mask).save(tmp_path / "mask.png")
    with pytest.raises(
        DatasetError, match=rf"mask.png has the colour {colour[0]} {colour[1]} {colour[2]} at \(x=7, y=3\)"
    ):
        ColourMasks((((128, 64, 128), 0), ((9, 9, 9), 1)))(tmp_path / "mask.png")


def test_a_jpeg_of_cmyk_is_read_as_rgb(tmp_path):
    flat = Image.new("CMYK", (24, 16), (0, 255, 255, 0))  # no cyan, all magenta and yellow: red
    flat.save(tmp_path / "image.jpg", quality=95)
    image = read_image(tmp_path / "image.jpg", 3)
    assert image.shape == (16, 24, 3)
    np.testing.assert_allclose(image.astype(int), np.full((16, 24, 3), (255, 0, 0)), atol=3)


def test_a_transparent_colour_of_a_png_is_a_colour(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "image.png", transparency=tuple(RGB[0, 0].tolist()))
    np.testing.assert_array_equal(read_image(tmp_path / "image.png", 3), RGB)
    indices = RNG.integers(0, 3, (10, 12), dtype=np.uint8)
    palette = np.array([(9, 8, 7), (200, 0, 100), (1, 2, 3)], np.uint8)
    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes())
    image.save(tmp_path / "palette.png", transparency=1)
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png", 3), palette[indices])
    np.testing.assert_array_equal(read_label_map(tmp_path / "palette.png"), indices)
