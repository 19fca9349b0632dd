import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import coatseg
from coatseg.data.augmentations.crop import random_crop
from coatseg.data.augmentations.flips import horizontal_flip
from coatseg.data.augmentations.photometric import photometric
from coatseg.data.augmentations.resize import random_scale
from coatseg.data.augmentations.transform import Transform
from coatseg.data.images.normalization import normalise
from coatseg.errors import ConfigError
from coatseg.registry.names import table
from coatseg.structures import DatasetInfo, Instances, Panoptic, Sample, Segment
from tests.contracts.dataset import assert_same, check_instances
from tests.data.generate import COLOURS, label_map, painted

INFO = DatasetInfo(
    "blocks",
    ("background", "red", "green", "blue"),
    COLOURS,
    frozenset({"semantic", "boxes", "instances"}),
    ignore_index=255,
    things=(1, 2, 3),
)
SIZE = (60, 80)
CHANNELS = (1, 2, 3, 4, 5, 13, 16)
NEEDED = {
    "crop": {"size": (48, 64)},
    "jitter": {"size": (48, 64)},
    "resize": {"short": [48]},
    "resize_or_crop": {"short": [48]},
}
LABELS = label_map(SIZE, (0, 1, 2, 3, 255), seed=1)
SAMPLE = Sample("a", painted(LABELS, COLOURS, 1), SIZE, LABELS)


def everything(info=INFO, size=(48, 64)):
    return Transform([random_scale(info), random_crop(info, size=size), horizontal_flip(info), photometric(info)], info)


def channels_of(count, mean=0.5, std=0.25):
    return replace(INFO, mean=(mean,) * count, std=(std,) * count)


def with_objects(size=SIZE):
    """A sample of three rectangles, whose panoptic ids are beyond 24 bits, and whose colour is their number."""
    rectangles = np.array([(4, 6, 30, 28), (40, 10, 70, 50), (10, 40, 20, 55)], np.float32)
    masks = np.zeros((3, *size), bool)
    ids = np.zeros(size, np.int32)
    for number, (x1, y1, x2, y2) in enumerate(rectangles.astype(int)):
        masks[number, y1:y2, x1:x2] = True
        ids[masks[number]] = 2**24 + 1 + number
    labels = (masks * np.array([1, 2, 3], np.uint8)[:, None, None]).sum(axis=0, dtype=np.uint8)
    instances = Instances(rectangles, np.array([1, 2, 3]), masks, np.array([False, True, False]))
    segments = tuple(Segment(2**24 + 1 + number, number + 1, number == 1) for number in range(3))
    return Sample("objects", painted(labels, COLOURS, 0), size, labels, instances, Panoptic(ids, segments))


class Draws(torch.utils.data.Dataset):
    """The images that one transform gives for twelve seeds."""

    transform = everything()

    def __len__(self):
        return 12

    def __getitem__(self, seed):
        return self.transform(SAMPLE, seed).image


def test_the_result_is_a_function_of_sample_and_seed_in_any_order():
    one, other = everything(), everything()
    forwards = [one(SAMPLE, seed) for seed in range(10)]
    backwards = [other(SAMPLE, seed) for seed in reversed(range(10))][::-1]
    for mine, its in zip(forwards, backwards, strict=True):
        assert_same(mine, its)
    assert len({sample.image.tobytes() for sample in forwards}) == 10


def test_the_result_is_the_same_in_worker_processes():
    here = [Draws()[seed] for seed in range(12)]
    there = list(DataLoader(Draws(), batch_size=None, num_workers=2))
    for mine, its in zip(here, there, strict=True):
        np.testing.assert_array_equal(mine, its)


def test_global_random_state_is_neither_read_nor_moved():
    np.random.seed(0)
    torch.manual_seed(0)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    everything()(SAMPLE, 3)
    np.testing.assert_array_equal(before[0], np.random.get_state()[1])
    assert torch.equal(before[1], torch.get_rng_state())


def test_steps_draw_independently_of_each_other():
    ramp = replace(SAMPLE, image=np.arange(80, dtype=np.uint8)[None, :, None].repeat(60, 0).repeat(3, 2))
    transform = Transform([random_scale(INFO), horizontal_flip(INFO)], INFO)
    draws = [transform(ramp, seed).image for seed in range(200)]
    flipped = np.array([image[0, 0, 0] > image[0, -1, 0] for image in draws])
    large = np.array([image.shape[1] > 100 for image in draws])
    assert abs(flipped[large].mean() - flipped[~large].mean()) < 0.25
    assert 0.35 < flipped.mean() < 0.65


def test_the_sample_that_goes_in_is_left_as_it_was():
    sample = with_objects()
    everything()(sample, 1)
    assert_same(sample, with_objects())


def test_without_steps_nothing_changes():
    assert_same(Transform([], INFO)(with_objects(), 0), with_objects())


def test_what_a_sample_lacks_stays_absent():
    done = everything()(replace(SAMPLE, label_map=None), 0)
    assert (done.label_map, done.instances, done.panoptic) == (None, None, None)
    assert done.original_size == SIZE


def test_a_flip_mirrors_image_and_labels():
    done = Transform([horizontal_flip(INFO, probability=1.0)], INFO)(SAMPLE, 0)
    np.testing.assert_array_equal(done.image, SAMPLE.image[:, ::-1])
    np.testing.assert_array_equal(done.label_map, SAMPLE.label_map[:, ::-1])


def test_a_flip_never_mirrors_with_probability_0():
    assert_same(Transform([horizontal_flip(INFO, probability=0)], INFO)(SAMPLE, 0), SAMPLE)


def test_scales_fill_their_range():
    transform = Transform([random_scale(INFO, low=0.5, high=2.0)], INFO)
    heights = [transform(SAMPLE, seed).image.shape[0] for seed in range(100)]
    assert 30 <= min(heights) < 40
    assert 110 < max(heights) <= 120


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_scaling_invents_no_label(dtype):
    transform = Transform([random_scale(INFO)], INFO)
    sample = replace(SAMPLE, label_map=LABELS.astype(dtype))
    for seed in range(20):
        labels = transform(sample, seed).label_map
        assert labels.dtype == dtype
        assert set(np.unique(labels)) <= set(np.unique(LABELS))


@pytest.mark.parametrize("factor", [0.5, 0.7, 1.3, 2.0])
def test_scaled_labels_lie_on_the_scaled_image(factor):
    labels = label_map((64, 80), (0, 1), seed=3)
    sample = Sample("a", (labels * 255)[..., None].repeat(3, 2), (64, 80), labels)
    done = Transform([random_scale(INFO, low=factor, high=factor)], INFO)(sample, 0)
    from_image = done.image[..., 0].astype(int)
    sure = (from_image < 100) | (from_image > 155)
    np.testing.assert_array_equal(done.label_map[sure], (from_image > 127)[sure])


def test_a_crop_keeps_the_most_frequent_class_below_its_limit():
    labels = np.zeros((100, 400), np.uint8)
    labels[:, 200:] = 1
    labels[:30] = 255
    sample = Sample("a", painted(labels, COLOURS, 0), labels.shape, labels)
    transform = Transform([random_crop(INFO, size=(50, 50), most_frequent=0.6, tries=300)], INFO)
    for seed in range(10):
        counts = np.bincount(transform(sample, seed).label_map.ravel(), minlength=256)[:2]
        assert counts.max() <= 0.6 * counts.sum()


def test_a_crop_of_a_single_class_is_cut_after_the_last_try():
    flat = replace(SAMPLE, label_map=np.zeros(SIZE, np.uint8))
    assert Transform([random_crop(INFO, size=(20, 30))], INFO)(flat, 0).image.shape == (20, 30, 3)
    empty = replace(SAMPLE, label_map=np.full(SIZE, 255, np.uint8))
    assert Transform([random_crop(INFO, size=(20, 30))], INFO)(empty, 0).label_map.shape == (20, 30)


def test_crops_reach_every_corner():
    position = np.arange(60 * 80, dtype=np.uint16).reshape(60, 80, 1).repeat(3, 2)
    transform = Transform([random_crop(INFO, size=(58, 78), most_frequent=1.0)], INFO)
    corners = {int(transform(replace(SAMPLE, image=position), seed).image[0, 0, 0]) for seed in range(200)}
    assert corners == {80 * y + x for y in range(3) for x in range(3)}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", CHANNELS)
def test_padding_is_the_mean_colour_and_the_ignore_index(dtype, channels):
    info = channels_of(channels, mean=0.437, std=0.2)
    sample = replace(SAMPLE, image=np.ones((*SIZE, channels), dtype))
    done = Transform([random_crop(info, size=(70, 100))], info)(sample, 0)
    assert done.image.shape == (70, 100, channels)
    assert done.image.dtype == dtype
    tensor = normalise(done.image, info)
    tolerance = 0.5 / 255 / 0.2 if dtype == np.uint8 else 1e-4
    for border, labels in ((tensor[:, 60:], done.label_map[60:]), (tensor[:, :, 80:], done.label_map[:, 80:])):
        assert border.abs().max() <= tolerance
        assert (labels == 255).all()
    np.testing.assert_array_equal(done.image[:60, :80], sample.image)
    np.testing.assert_array_equal(done.label_map[:60, :80], LABELS)


def test_an_ignore_index_beyond_a_byte_pads():
    info = replace(INFO, ignore_index=-100)
    done = Transform([random_crop(info, size=(70, 80))], info)(replace(SAMPLE, label_map=LABELS.astype(np.int32)), 0)
    assert (done.label_map[60:] == -100).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", CHANNELS)
def test_every_step_takes_every_kind_of_image(dtype, channels):
    top = {"uint8": 255, "uint16": 65535, "float32": 1}[np.dtype(dtype).name]
    image = (np.random.default_rng(0).random((*SIZE, channels)) * top).astype(dtype)
    transform = everything(channels_of(channels))
    for seed in range(8):
        done = transform(replace(SAMPLE, image=image), seed)
        assert done.image.dtype == dtype
        assert done.image.shape == (48, 64, channels)
        assert done.image.flags.c_contiguous


def image_of(channels, dtype):
    top = {"uint8": 255, "uint16": 65535, "float32": 1}[np.dtype(dtype).name]
    return (np.random.default_rng(0).random((*SIZE, channels)) * top).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("name", sorted(table("augmentation")))
def test_each_augmentation_keeps_channels_type_and_labels(name, channels, dtype):
    info = channels_of(channels)
    transform = Transform([table("augmentation")[name](info, **NEEDED.get(name, {}))], info)
    for seed in range(3):
        done = transform(replace(with_objects(), image=image_of(channels, dtype)), seed)
        assert done.image.dtype == dtype
        assert done.image.shape == (*done.label_map.shape, channels)
        assert done.image.flags.c_contiguous
        check_instances(done, info)


# Saturation and hue mix the channels of uint8 RGB.
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("scale", {"low": 0.3, "high": 0.8}),
        ("scale", {"low": 1.2, "high": 2.0}),
        ("crop", {"size": (70, 64)}),
        ("flip", {"probability": 1.0}),
        ("photometric", {"probability": 1.0, "saturation": 0, "hue": 0}),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", CHANNELS)
def test_many_channels_change_as_each_would_by_itself(name, options, channels, dtype):
    alone, together = (
        Transform([table("augmentation")[name](info, **options)], info)
        for info in (channels_of(1), channels_of(channels))
    )
    image = image_of(channels, dtype)
    for seed in range(3):
        done = together(replace(with_objects(), image=image), seed)
        for channel in range(channels):
            single = replace(with_objects(), image=np.ascontiguousarray(image[..., channel : channel + 1]))
            expected = alone(single, seed)
            # OpenCV rounds by another path where it has one for this number of channels.
            np.testing.assert_allclose(
                done.image[..., channel].astype(float), expected.image[..., 0], atol=1e-5 if dtype == np.float32 else 1
            )
            np.testing.assert_array_equal(done.label_map, expected.label_map)


def test_instances_stay_together():
    transform = Transform([random_scale(INFO), random_crop(INFO, size=(48, 64)), horizontal_flip(INFO)], INFO)
    before = with_objects().instances
    counts = set()
    for seed in range(40):
        done = transform(with_objects(), seed)
        after = done.instances
        check_instances(done, INFO)
        counts.add(len(after))
        for box, label, mask, crowd in zip(after.boxes, after.labels, after.masks, after.crowd, strict=True):
            assert crowd == before.crowd[label - 1]
            assert (done.label_map[mask] == label).all()
            ys, xs = np.nonzero(mask)
            np.testing.assert_allclose(box, (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1), atol=1)
    assert {1, 2, 3} <= counts


def test_instances_that_vanish_take_everything_with_them():
    done = Transform([random_crop(INFO, size=(60, 80)), horizontal_flip(INFO)], INFO)(with_objects(), 0)
    assert len(done.instances) == 3
    sample = with_objects((60, 400))
    sample = replace(sample, label_map=None)
    for seed in range(20):
        done = Transform([random_crop(INFO, size=(60, 20))], INFO)(sample, seed)
        check_instances(done, INFO)
        assert {segment.label for segment in done.panoptic.segments} == set(done.instances.labels.tolist())


def test_an_instance_whose_mask_vanishes_goes_though_its_box_is_seen():
    mask = np.eye(60, 80, dtype=bool)[None]
    instances = Instances(np.array([(0, 0, 60, 60)], np.float32), np.array([1]), mask, np.zeros(1, bool))
    crop = Transform([random_crop(INFO, size=(20, 20), most_frequent=1)], INFO)
    kept = [len(crop(replace(SAMPLE, instances=instances), seed).instances) for seed in range(30)]
    assert set(kept) == {0, 1}
    for seed in range(30):
        check_instances(crop(replace(SAMPLE, instances=instances), seed), INFO)


def test_boxes_without_masks_and_no_instances_at_all():
    objects = with_objects().instances
    boxes_only = replace(SAMPLE, instances=replace(objects, masks=None))
    assert everything()(boxes_only, 0).instances.masks is None
    none = Instances(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros((0, *SIZE), bool), np.zeros(0, bool))
    done = everything()(replace(SAMPLE, instances=none), 0)
    assert done.instances.boxes.shape == (0, 4)
    assert done.instances.masks.shape == (0, 48, 64)


def test_boxes_beyond_the_image_are_clipped_and_empty_ones_dropped():
    boxes = np.array([(-5, -5, 200, 200), (10, 10, 10, 30), (90, 70, 95, 75)], np.float32)
    instances = Instances(boxes, np.array([1, 2, 3]), None, np.zeros(3, bool))
    done = Transform([horizontal_flip(INFO)], INFO)(replace(SAMPLE, instances=instances), 0)
    np.testing.assert_allclose(done.instances.boxes, [(0, 0, 80, 60)], atol=1e-4)
    assert done.instances.labels.tolist() == [1]


def test_boxes_keep_their_place_to_a_hundredth_of_a_pixel():
    boxes = np.array([(1000.25, 500.5, 1999.75, 1023.0)], np.float32)
    image = np.zeros((1024, 2048, 3), np.uint8)
    instances = Instances(boxes, np.array([1]), None, np.zeros(1, bool))
    done = Transform([horizontal_flip(INFO, probability=1.0)], INFO)(
        Sample("a", image, (1024, 2048), None, instances), 0
    )
    np.testing.assert_allclose(done.instances.boxes, [(48.25, 500.5, 1047.75, 1023.0)], atol=0.01)


def test_panoptic_ids_pad_with_nothing_and_lose_segments_that_vanish():
    sample = with_objects()
    padded = Transform([random_crop(INFO, size=(70, 100))], INFO)(sample, 0).panoptic
    assert padded.ids.dtype == np.int32
    np.testing.assert_array_equal(padded.ids[:60, :80], sample.panoptic.ids)
    assert not padded.ids[60:].any()
    assert padded.segments == sample.panoptic.segments
    for seed in range(20):
        small = everything(size=(20, 20))(sample, seed).panoptic
        assert {segment.id for segment in small.segments} == set(np.unique(small.ids)) - {0}


def test_crops_look_at_the_classes_of_segments_where_there_is_no_label_map():
    sample = replace(with_objects(), instances=None, label_map=None, focus=1)
    crop = Transform([random_crop(INFO, size=(20, 20), most_frequent=1)], INFO)
    for seed in range(20):
        assert 1 in {segment.label for segment in crop(sample, seed).panoptic.segments}
    labels = with_objects().label_map
    both, alone = (
        replace(with_objects(), instances=None, label_map=own) for own in (np.where(labels == 0, 255, labels), None)
    )
    varied = Transform([random_crop(INFO, size=(20, 20), most_frequent=0.75)], INFO)
    for seed in range(20):
        np.testing.assert_array_equal(varied(both, seed).image, varied(alone, seed).image)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_brightness_and_contrast_stay_in_range(dtype):
    top = np.iinfo(dtype).max
    image = np.linspace(0, top, 60 * 80 * 4).astype(dtype).reshape(60, 80, 4)
    transform = Transform([photometric(channels_of(4), brightness=0.5, contrast=0.9, probability=1)], channels_of(4))
    means = set()
    for seed in range(10):
        done = transform(replace(SAMPLE, image=image), seed).image
        assert (np.diff(done.ravel().astype(int)) >= 0).all()  # no value wraps around
        means.add(int(done.mean()))
    assert len(means) > 5


def test_float_images_change_in_units_of_their_spread():
    info = channels_of(2, mean=280.0, std=10.0)
    image = np.full((*SIZE, 2), 280, np.float32)
    only_contrast = photometric(info, brightness=0, contrast=0.5, probability=1)
    np.testing.assert_allclose(Transform([only_contrast], info)(replace(SAMPLE, image=image), 0).image, 280)
    shifted = Transform([photometric(info, brightness=0.25, contrast=0, probability=1)], info)
    shifts = [shifted(replace(SAMPLE, image=image), seed).image.mean() - 280 for seed in range(50)]
    assert 7 < max(np.abs(shifts)) <= 10


def test_hue_turns_and_saturation_fades():
    red = replace(SAMPLE, image=np.full((*SIZE, 3), (200, 40, 40), np.uint8))
    turn = Transform([photometric(INFO, brightness=0, contrast=0, saturation=0, hue=0.5, probability=1)], INFO)
    assert len({tuple(turn(red, seed).image[0, 0]) for seed in range(10)}) > 5
    assert {int(turn(red, seed).image.max()) for seed in range(10)} == {200}
    fade = Transform([photometric(INFO, brightness=0, contrast=0, saturation=1, hue=0, probability=1)], INFO)
    spreads = {int(np.ptp(fade(red, seed).image[0, 0])) for seed in range(20)}
    assert min(spreads) < 100
    assert max(spreads) > 180


def test_no_distortion_is_no_change():
    still = Transform([photometric(INFO, probability=0)], INFO)
    nothing = Transform([photometric(INFO, brightness=0, contrast=0, saturation=0, hue=0, probability=1)], INFO)
    for transform in (still, nothing):
        assert_same(transform(SAMPLE, 0), SAMPLE)


@pytest.mark.parametrize(
    ("name", "options", "key"),
    [
        ("scale", {"low": 2.0, "high": 0.5}, "scale.low=2.0"),
        ("scale", {"low": 0.0}, "scale.low=0"),
        ("crop", {"size": 512}, "crop.size=512"),
        ("crop", {"size": [512]}, "crop.size"),
        ("crop", {"size": [512, 0.5]}, "crop.size"),
        ("crop", {"size": [0, 512]}, "crop.size"),
        ("crop", {"size": [8, 8], "most_frequent": 75}, "crop.most_frequent=75"),
        ("crop", {"size": [8, 8], "tries": 0}, "crop.tries=0"),
        ("flip", {"probability": 2}, "flip.probability=2"),
        ("photometric", {"hue": -0.1}, "photometric.hue=-0.1"),
        ("photometric", {"brightness": 32}, "photometric.brightness=32"),
        ("photometric", {"probability": 1.5}, "photometric.probability=1.5"),
    ],
)
def test_options_that_cannot_be_are_named(name, options, key):
    with pytest.raises(ConfigError, match=rf"^data\.augmentations\.{name}.*{key.removeprefix(name)}"):
        table("augmentation")[name](INFO, **options)


def test_a_large_image_takes_well_under_a_tenth_of_a_second():
    labels = label_map((1024, 2048), range(4), 0)
    sample = Sample("a", painted(labels, COLOURS, 0), (1024, 2048), labels)
    transform = everything(size=(512, 1024))
    times = []
    for seed in range(15):
        begin = time.perf_counter()
        transform(sample, seed)
        times.append(time.perf_counter() - begin)
    assert np.median(times) < 0.1  # 0.01 to 0.02 on a free core


def test_importing_is_silent_and_asks_no_network():
    code = """
import socket
def refuse(*_): raise AssertionError("a connection was tried")
socket.socket.connect = socket.getaddrinfo = refuse
import coatseg.data.augmentations.transform
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_only_augmentations_know_albumentations():
    package = Path(coatseg.__file__).parent
    knowing = [path for path in package.rglob("*.py") if "import albumentations" in path.read_text()]
    elsewhere = [path for path in knowing if path.parent.name != "augmentations"]
    assert elsewhere == []


def test_layers_move_with_the_label_map_and_are_padded_with_the_ignore_index() -> None:
    layers = np.stack([number == LABELS for number in range(4)], axis=-1).astype(np.uint8)
    steps = [
        table("augmentation")["scale"](INFO),
        table("augmentation")["crop"](INFO, size=[90, 120]),
        table("augmentation")["flip"](INFO),
    ]
    for seed in range(6):
        done = Transform(steps, INFO)(replace(SAMPLE, layers=layers), seed)
        assert done.layers is not None
        padded = (done.layers == INFO.ignore_index).all(-1)
        expected = np.stack([done.label_map == number for number in range(4)], axis=-1)
        np.testing.assert_array_equal(done.layers[~padded], expected[~padded])
        assert (done.label_map[padded] == INFO.ignore_index).all()
