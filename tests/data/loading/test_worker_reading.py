from dataclasses import replace

import numpy as np
import pytest

from coatseg.config.data import build_data
from coatseg.config.read import read
from coatseg.data.loading.module import DataModule
from coatseg.data.loading.sampling import Draw
from coatseg.data.loading.worker_reading import KEPT, DrawnSteps, only_needed
from coatseg.registry.names import table
from coatseg.scenes import Scenes
from coatseg.structures import Instances
from tests.contracts.dataset import assert_same
from tests.data.augmentations.test_transform import INFO, everything, with_objects

TRUTHS = ("label_map", "layers", "instances", "panoptic")
EVERYTHING = replace(with_objects(), layers=np.zeros((60, 80, 4), np.uint8))


class Objects:
    """One sample that has every kind of truth."""

    info = INFO

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return EVERYTHING

    def verify(self, index):
        """There is nothing to check."""


@pytest.mark.parametrize(
    ("needs", "kept"),
    [("semantic", "label_map"), ("multilabel", "layers"), ("boxes", "instances"), ("instances", "instances")],
)
def test_a_task_keeps_its_own_truth_alone(needs, kept):
    sample = only_needed(EVERYTHING, needs)
    assert [truth for truth in TRUTHS if getattr(sample, truth) is not None] == [kept]
    assert sample.image is EVERYTHING.image
    if kept == "instances":
        assert (sample.instances.masks is None) == (needs == "boxes")
        np.testing.assert_array_equal(sample.instances.boxes, EVERYTHING.instances.boxes)
    bare = replace(EVERYTHING, label_map=None, layers=None, instances=None, panoptic=None)
    assert_same(only_needed(bare, needs), bare)


@pytest.mark.parametrize("stated", [None, np.array([7.0, 8.0])])
def test_boxes_keep_the_stated_areas_else_those_of_the_masks(stated):
    masks = np.zeros((2, 60, 80), bool)
    masks[0, 3:5, 10:13] = masks[1, 1:9, 2] = True
    instances = Instances(
        np.array([[10, 3, 13, 5], [2, 1, 30, 9]], np.float32), np.ones(2, int), masks, np.zeros(2, bool)
    )
    kept = only_needed(replace(EVERYTHING, instances=replace(instances, areas=stated)), "boxes").instances
    assert kept.areas.dtype == np.float64
    assert kept.areas.tolist() == ([6, 8] if stated is None else [7, 8])
    assert only_needed(replace(EVERYTHING, instances=replace(instances, masks=None)), "boxes").instances.areas is None


@pytest.mark.parametrize("needs", [None, "depth"])
def test_an_unknown_need_keeps_all(needs):
    assert only_needed(EVERYTHING, needs) is EVERYTHING


def test_every_need_of_the_built_in_tasks_is_known():
    assert {task.needs for task in table("task").values()} <= set(KEPT)


def test_dropping_changes_nothing_else_of_the_stream():
    transform = everything()
    for seed in range(10):
        steps = [DrawnSteps(Objects(), 1, transform, needs)[[Draw(0, seed)]] for needs in (None, "semantic")]
        (every,), (alone,) = (step.batches() for step in steps)
        assert every.images.equal(alone.images)
        assert every.targets[0].label_map.equal(alone.targets[0].label_map)
        assert (alone.targets[0].instances, alone.targets[0].layers) == (None, None)


def test_the_task_of_a_configuration_says_what_is_kept(composed):
    data = build_data(read(composed("data=scenes", "data.size=[64,64]", "data.augmentations.crop.size=[64,64]")))
    (batch,) = DrawnSteps(data.split("train"), 1, data.transform, data.needs)[[Draw(0, seed=0)]].batches()
    assert batch.targets[0].label_map is not None
    assert batch.targets[0].instances is None


def evaluated(**options):
    data = DataModule(lambda split: Scenes(split, size=(64, 96)), lambda sample, seed: sample, Scenes.info, **options)
    data.trainer = type("Trainer", (), {"global_rank": 0, "world_size": 1})()
    return next(iter(data.evaluation_dataloader("val")))


def test_in_evaluation_the_image_alone_is_resized():
    plain, resized = evaluated(workers=0), evaluated(workers=0, evaluation_resize=(100, 140), needs="instances")
    assert plain.sizes == plain.original_sizes == resized.original_sizes == ((64, 96),)
    assert resized.sizes == ((93, 140),)  # 100 would make the longer side 150
    assert resized.images.shape == (1, 3, 93, 140)
    ours, whole = resized.targets[0].instances, plain.targets[0].instances
    assert ours.boxes.equal(whole.boxes)
    assert ours.masks.equal(whole.masks)
    assert resized.targets[0].label_map is None
