import numpy as np
import pytest
from PIL import Image

from coatseg.data.images.reading import read_label_map
from coatseg.data.readers.mask_files import SemanticFiles
from coatseg.data.trees.masked_image import MaskedImage
from coatseg.errors import DatasetError, ImageError
from coatseg.structures import DatasetInfo

INFO = DatasetInfo("roads", ("road", "car", "sky"), ((0, 0, 0), (9, 0, 0), (0, 9, 0)), frozenset({"semantic"}))


def pair_of(root, labels, size=(8, 10)):
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(root / "a.png")
    Image.fromarray(labels).save(root / "a_mask.png")
    return MaskedImage("a", root / "a.png", root / "a_mask.png")


def both_ways(files):
    """Reading and verifying, which must raise alike."""
    return (lambda: files[0]), (lambda: files.verify(0))


def test_labels_come_as_bytes_where_they_fit(tmp_path):
    labels = np.array([[0, 1], [2, 255]], np.uint16)
    sample = SemanticFiles(INFO, [pair_of(tmp_path, labels, (2, 2))])[0]
    assert sample.label_map.dtype == np.uint8
    np.testing.assert_array_equal(sample.label_map, labels)


@pytest.mark.parametrize(("count", "ignored"), [(300, 65535), (256, -1)])
def test_what_no_byte_holds_comes_as_int32(tmp_path, count, ignored):
    info = DatasetInfo("many", tuple(map(str, range(count))), ((0, 0, 0),) * count, frozenset({"semantic"}), ignored)
    labels = np.array([[0, count - 1, max(ignored, 0)]], np.uint16)
    sample = SemanticFiles(info, [pair_of(tmp_path, labels, (1, 3))])[0]
    assert sample.label_map.dtype == np.int32
    np.testing.assert_array_equal(sample.label_map, labels)


def test_a_reader_of_other_numbers_is_one_function(tmp_path):
    """How Cityscapes, ADE20K and VOC map what their masks hold."""
    table = np.array([255, 0, 1, 2, *[255] * 252], np.uint8)  # 0 is other, classes from 1 on
    pair = pair_of(tmp_path, np.array([[0, 1, 2, 3]], np.uint8), (1, 4))
    sample = SemanticFiles(INFO, [pair], lambda path: table[read_label_map(path)])[0]
    assert sample.label_map.tolist() == [[255, 0, 1, 2]]


def test_a_label_out_of_range_is_named_with_what_is_legal(tmp_path):
    labels = np.zeros((8, 10), np.uint8)
    labels[4, 6] = 3
    for read in both_ways(SemanticFiles(INFO, [pair_of(tmp_path, labels)])):
        with pytest.raises(DatasetError) as raised:
            read()
        assert "a_mask.png holds the label 3, first at (x=6, y=4)" in raised.value.what
        assert "roads has labels 0 to 2, and 255" in raised.value.what
        assert "write 255" in raised.value.mend


def test_a_mask_of_another_size_is_named_with_both_sizes(tmp_path):
    for read in both_ways(SemanticFiles(INFO, [pair_of(tmp_path, np.zeros((10, 8), np.uint8))])):
        with pytest.raises(DatasetError, match=r"a_mask.png is 10x8, its image .*a.png 8x10"):
            read()


def test_a_missing_mask_names_its_image(tmp_path):
    pair = pair_of(tmp_path, np.zeros((8, 10), np.uint8))
    pair.mask.unlink()
    for read in both_ways(SemanticFiles(INFO, [pair])):
        with pytest.raises(DatasetError, match=r"(?s)image .*a.png has no mask.*a_mask.png"):
            read()


def test_a_missing_or_damaged_image_is_named(tmp_path):
    pair = pair_of(tmp_path, np.zeros((8, 10), np.uint8))
    for damage in (lambda: pair.image.write_bytes(b"no image"), pair.image.unlink):
        damage()
        for read in both_ways(SemanticFiles(INFO, [pair])):
            with pytest.raises(ImageError, match=r"a\.png"):
                read()


def test_a_damaged_mask_is_named(tmp_path):
    pair = pair_of(tmp_path, np.random.default_rng(0).integers(0, 3, (8, 10), dtype=np.uint8))
    pair.mask.write_bytes(pair.mask.read_bytes()[:60])
    for read in both_ways(SemanticFiles(INFO, [pair])):
        with pytest.raises(ImageError, match=r"a_mask\.png"):
            read()


def test_verifying_finds_an_image_that_is_cut_short(tmp_path):
    image = tmp_path / "a.bmp"
    Image.fromarray(np.zeros((8, 10, 3), np.uint8)).save(image)
    image.write_bytes(image.read_bytes()[:60])
    mask = pair_of(tmp_path, np.zeros((8, 10), np.uint8)).mask
    with pytest.raises(ImageError, match=r"a\.bmp"):
        SemanticFiles(INFO, [MaskedImage("a", image, mask)]).verify(0)
