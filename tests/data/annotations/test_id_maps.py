from dataclasses import replace

import numpy as np
import pytest

from coatseg.data.annotations.id_maps import pack, unpack


def rectangles(*corners, size=(6, 8)):
    masks = np.zeros((len(corners), *size), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, corners, strict=True):
        mask[y1:y2, x1:x2] = True
    return masks


def test_disjoint_masks_share_a_map_and_overlapping_ones_do_not():
    # The third lies over the first, the fourth over the third alone.
    packed = pack(rectangles((0, 0, 3, 3), (4, 0, 8, 3), (2, 2, 4, 5), (3, 4, 6, 6)))
    assert packed.places.tolist() == [0, 0, 1, 0]
    assert packed.maps.dtype == np.uint8
    np.testing.assert_array_equal(packed.maps[0, 2], [1, 1, 1, 0, 2, 2, 2, 2])
    np.testing.assert_array_equal(packed.maps[1, 2], [0, 0, 3, 3, 0, 0, 0, 0])


def test_masks_whose_boxes_overlap_share_a_map_if_they_do_not():
    lower = np.tri(5, dtype=bool)
    packed = pack(np.stack([lower, ~lower]))
    assert len(packed.maps) == 1


def test_masks_come_back_with_tight_boxes_without_the_empty_ones():
    masks = rectangles((0, 0, 3, 3), (5, 5, 5, 5), (2, 2, 4, 5))
    numbers, boxes, found = unpack(pack(masks))
    assert numbers.tolist() == [0, 2]
    np.testing.assert_array_equal(found, masks[[0, 2]])
    assert boxes.dtype == np.float64
    assert boxes.tolist() == [[0, 0, 3, 3], [2, 2, 4, 5]]
    packed = pack(masks)
    numbers, boxes, found = unpack(replace(packed, maps=np.zeros_like(packed.maps)))
    assert (len(numbers), boxes.shape, found.shape) == (0, (0, 4), (0, 6, 8))


@pytest.mark.parametrize(("count", "dtype"), [(255, np.uint8), (256, np.uint16), (65536, np.int32)])
def test_ids_fit_their_type(count, dtype):
    masks = np.zeros((count, 1, 2), bool)
    masks[-1, 0, 1] = True
    packed = pack(masks)
    assert packed.maps.dtype == dtype
    numbers, _, found = unpack(packed)
    assert numbers.tolist() == [count - 1]
    assert found.tolist() == [[[False, True]]]


def test_random_masks_come_back_as_they_were():
    for seed in range(20):
        random = np.random.default_rng(seed)
        masks = random.random((30, 9, 11)) < random.choice([0.02, 0.2, 0.8])
        numbers, boxes, found = unpack(pack(masks))
        np.testing.assert_array_equal(numbers, np.flatnonzero(masks.any((1, 2))))
        np.testing.assert_array_equal(found, masks[numbers])
        for (x1, y1, x2, y2), mask in zip(boxes.astype(int), found, strict=True):
            ys, xs = np.nonzero(mask)
            assert (x1, y1, x2, y2) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
