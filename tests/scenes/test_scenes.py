import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from coatseg.errors import DatasetError
from coatseg.scenes import Scenes
from tests.contracts.dataset import DatasetContract

SMALL = (96, 96)


class TestScenesAsADataset(DatasetContract):
    def make(self, root):
        return Scenes("val", size=SMALL, val_images=4)


@pytest.fixture(scope="module")
def samples():
    val = Scenes("val", size=SMALL)
    return [val[index] for index in range(20)]


def test_the_same_index_gives_the_same_sample():
    first, second = Scenes("val", size=SMALL)[3], Scenes("val", size=SMALL)[3]
    assert (first.image == second.image).all()
    assert (first.label_map == second.label_map).all()
    assert (first.panoptic.ids == second.panoptic.ids).all()
    assert first.panoptic.segments == second.panoptic.segments
    assert (first.instances.boxes == second.instances.boxes).all()


def test_a_sample_does_not_depend_on_what_was_drawn_before():
    train = Scenes("train", size=SMALL)
    alone = train[7].image
    for index in (2, 11):
        _ = train[index]
    assert (train[7].image == alone).all()


def test_another_process_with_more_threads_draws_the_same():
    program = (
        "import zlib, cv2; cv2.setNumThreads(4); from coatseg.scenes import Scenes;"
        "print(zlib.crc32(b''.join(Scenes('val', size=(96, 96))[i].image.tobytes() for i in range(6))))"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    val = Scenes("val", size=SMALL)
    assert int(other) == zlib.crc32(b"".join(val[index].image.tobytes() for index in range(6)))


@pytest.mark.parametrize(
    "other",
    [(Scenes("val", size=SMALL), 1), (Scenes("train", size=SMALL), 0), (Scenes("val", size=SMALL, seed=1), 0)],
    ids=["index", "split", "seed"],
)
def test_another_index_split_or_seed_gives_another_scene(other):
    dataset, index = other
    sample, base = dataset[index], Scenes("val", size=SMALL)[0]
    assert (sample.image != base.image).mean() > 0.5
    assert (sample.label_map != base.label_map).mean() > 0.1


def test_splits_share_no_scene():
    fingerprints = [
        Scenes(split, size=SMALL)[index].label_map.tobytes() for split in ("train", "val", "test") for index in range(8)
    ]
    assert len(set(fingerprints)) == len(fingerprints)


def test_what_a_sample_holds(samples):
    info = Scenes.info
    for index, sample in enumerate(samples):
        assert sample.id == f"val_{index:05d}"
        assert sample.original_size == SMALL
        assert sample.image.shape == (*SMALL, 3)
        assert sample.image.dtype == np.uint8
        assert sample.label_map.shape == SMALL
        assert sample.label_map.dtype == np.uint8
        assert sample.label_map.max() < len(info.classes)
        assert sample.instances.masks.dtype == bool
        assert sample.instances.boxes.dtype == np.float64
        assert sample.instances.labels.dtype == np.int64
        assert set(sample.instances.labels) <= set(info.things)
        assert not sample.instances.crowd.any()
        assert sample.panoptic.ids.dtype == np.int32


def test_panoptic_segments_cover_every_pixel_once_and_carry_its_class(samples):
    for sample in samples:
        ids = sample.panoptic.ids
        labels = {segment.id: segment.label for segment in sample.panoptic.segments}
        assert len(labels) == len(sample.panoptic.segments)
        assert set(np.unique(ids)) == set(labels)
        assert 0 not in labels
        assert (np.vectorize(labels.get)(ids) == sample.label_map).all()


def test_each_stuff_class_is_one_segment(samples):
    for sample in samples:
        stuff = [segment.label for segment in sample.panoptic.segments if segment.label not in Scenes.info.things]
        assert len(stuff) == len(set(stuff))


def test_instances_are_the_thing_segments(samples):
    for sample in samples:
        things = [segment for segment in sample.panoptic.segments if segment.label in Scenes.info.things]
        assert len(things) == len(sample.instances)
        for thing, label, mask in zip(things, sample.instances.labels, sample.instances.masks, strict=True):
            assert label == thing.label
            assert (mask == (sample.panoptic.ids == thing.id)).all()


def test_boxes_are_tight(samples):
    for sample in samples:
        for (x1, y1, x2, y2), mask in zip(sample.instances.boxes, sample.instances.masks, strict=True):
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            assert (x1, y1, x2, y2) == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)


def test_no_object_is_too_small_to_be_seen(samples):
    assert min(mask.sum() for sample in samples for mask in sample.instances.masks) >= 12


def test_every_class_is_in_most_scenes(samples):
    present = np.array([np.bincount(sample.label_map.ravel(), minlength=9) > 0 for sample in samples])
    assert (present.mean(axis=0) >= 0.6).all()


@pytest.mark.parametrize("size", [(96, 96), (64, 160), (200, 120), (512, 1024), (33, 47)])
def test_any_size(size):
    sample = Scenes("val", size=size)[5]
    assert sample.image.shape == (*size, 3)
    assert sample.label_map.shape == size
    assert sample.instances.masks.shape[1:] == size


def test_a_larger_image_shows_things_in_the_same_proportions():
    shares = []
    for size in ((128, 128), (256, 256)):
        val = Scenes("val", size=size)
        counts = sum(np.bincount(val[index].label_map.ravel(), minlength=9) for index in range(12))
        shares.append(counts / counts.sum())
    np.testing.assert_allclose(*shares, atol=0.02)


def test_lengths():
    assert [len(Scenes(split)) for split in ("train", "val", "test")] == [2000, 100, 100]
    assert len(Scenes("train", train_images=5)) == 5


def test_a_scene_beyond_the_last_is_an_index_error():
    with pytest.raises(IndexError, match="5 scenes"):
        Scenes("train", train_images=5)[5]


def test_a_wrong_split_names_the_nearest():
    with pytest.raises(DatasetError, match="Did you mean val"):
        Scenes("vall")


def test_verify_accepts_every_scene():
    Scenes("val").verify(0)


def features(sample):
    rows, columns = np.mgrid[0 : sample.image.shape[0], 0 : sample.image.shape[1]]
    return np.dstack([sample.image, columns, rows]).reshape(-1, 5).astype(np.float64)


def test_colour_and_position_alone_do_not_solve_it():
    train, val = Scenes("train", size=(128, 128)), Scenes("val", size=(128, 128))
    rng = np.random.default_rng(0)
    points, truths = [], []
    for index in range(400):
        sample = train[index]
        chosen = rng.integers(0, sample.label_map.size, 100)
        points.append(features(sample)[chosen])
        truths.append(sample.label_map.ravel()[chosen])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    model.fit(np.concatenate(points), np.concatenate(truths))
    counts = np.zeros(81, np.int64)
    for index in range(len(val)):
        sample = val[index]
        pairs = sample.label_map.ravel().astype(np.int64) * 9 + model.predict(features(sample))
        counts += np.bincount(pairs, minlength=81)
    confusion = counts.reshape(9, 9)
    hits = np.diag(confusion)
    score = (hits / (confusion.sum(axis=0) + confusion.sum(axis=1) - hits)).mean()
    assert 0.10 <= score <= 0.35


def test_objects_look_like_what_surrounds_them_in_no_fixed_colour():
    """The mean colour of cars varies as widely as that of buildings: no class is a colour."""
    val = Scenes("val", size=SMALL)
    means = {label: [] for label in (1, 5)}
    for index in range(40):
        sample = val[index]
        for label, found in means.items():
            mask = sample.label_map == label
            if mask.sum() > 30:
                found.append(cv2.mean(sample.image, mask.astype(np.uint8))[:3])
    spread = {label: np.std(found, axis=0).mean() for label, found in means.items()}
    assert min(spread.values()) > 15
