from types import SimpleNamespace

import numpy as np
import pytest

from coatseg.config.build import build
from coatseg.config.read import read
from coatseg.data.loading.module import DataModule
from coatseg.data.loading.subset import Limited, lying
from coatseg.errors import ConfigError
from coatseg.registry.names import table
from coatseg.structures import Sample, SizedDataset
from tests.data.augmentations.test_transform import INFO

SIZES = ((20, 30), (30, 20), (20, 20), (20, 31), (31, 20), (10, 40), (40, 10), (20, 21), (21, 20), (8, 9))


class Unsized:
    """Images of several sizes."""

    info = INFO

    def __len__(self):
        return len(SIZES)

    def __getitem__(self, index):
        return Sample(str(index), np.zeros((*SIZES[index], 3), np.uint8), SIZES[index])

    def verify(self, index):
        """There is nothing to check."""


class Sized(Unsized):
    """The same, known beforehand."""

    def size(self, index):
        return SIZES[index]


class Cropped(Unsized):
    """A reader with a size of another kind."""

    size = (20, 20)


class Windows(Sized):
    """Random windows."""

    draws = True

    def drawn(self, index, seed):
        return self[index]


def module(dataset, **options):
    data = DataModule(lambda split: dataset, lambda sample, seed: sample, INFO, batch_size=2, workers=0, **options)
    data.trainer = SimpleNamespace(accumulate_grad_batches=1, global_step=0, global_rank=0, world_size=1)
    return data


def test_wider_images_lie_and_square_ones_are_upright():
    assert lying(Sized()).tolist() == [1, 0, 0, 1, 0, 1, 0, 1, 0, 1]


def test_batches_hold_images_of_one_kind():
    data = module(Sized(), group_by_shape=True)
    batches = list(data.train_dataloader())
    assert (
        len(batches) == len(data.train_dataloader()) == data.steps_per_epoch == 4
    )  # two of each, one left out of each
    assert all(len({width > height for height, width in batch.sizes}) == 1 for batch in batches)
    assert len({image_id for batch in batches for image_id in batch.ids}) == 8
    assert module(Sized()).steps_per_epoch == 5


def test_a_limit_hands_sizes_on():
    limited = Limited(Sized(), 3)
    assert isinstance(limited, SizedDataset)
    assert lying(limited).tolist() == [1, 0, 0]
    assert module(Sized(), group_by_shape=True, limit=7).groups.tolist() == [1, 0, 0, 1, 0, 1, 0]


@pytest.mark.parametrize("dataset", [Unsized(), Cropped(), Limited(Unsized(), 4)])
def test_a_dataset_that_does_not_know_its_sizes_is_named(dataset):
    with pytest.raises(ConfigError, match="blocks does not know") as caught:
        module(dataset, group_by_shape=True).train_dataloader()
    assert "group_by_shape=false" in caught.value.mend
    assert len(list(module(dataset).train_dataloader())) == len(dataset) // 2


@pytest.mark.parametrize(
    ("dataset", "options", "other"),
    [(Windows(), {}, "data.window"), (Sized(), {"rare_class_temperature": 0.1}, "data.rare_class_temperature")],
)
def test_other_ways_to_draw_are_not_grouped(dataset, options, other):
    with pytest.raises(ConfigError, match=f"and {other} draws others"):
        _ = module(dataset, group_by_shape=True, **options).steps_per_epoch


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.group_by_shape=2", "data.group_by_shape=2 does not fit"),
        ("data.evaluation_resize=800", r"data.evaluation_resize=800 does not fit.\nGive \[short, long\]"),
        ("data.evaluation_resize=[1333,800]", r"does not fit.\nGive \[short, long\]"),
        ("data.evaluation_resize=[0,800]", "does not fit"),
        ("+data.augmentations.resize.shrot=[480]", "Did you mean short"),
        ("+data.augmentations.resize.sampling=random", "resize.sampling=random does not fit"),
        ("+data.augmentations.rotate90.probability=1", "rotate90 has no options"),
        ("+data.augmentations.resize_or_crop.long=0", "does not fit"),
        ("data.needs=boxes", "data.needs is no option"),
    ],
)
def test_wrong_values_are_refused_before_anything_is_built(composed, override, message):
    with pytest.raises(ConfigError, match=message):
        read(composed(override))


def test_a_run_counts_the_steps_of_its_groups(composed, monkeypatch):
    monkeypatch.setitem(table("dataset"), "shaped", lambda split: Sized())
    config = composed("backbone=coat_lite_tiny", "trainer.max_epochs=3")
    for grouped, steps in ((False, 15), (True, 12)):
        data = {"name": "shaped", "batch_size": 2, "workers": 0, "group_by_shape": grouped}
        assert build(read({**config, "data": data})).total_steps == steps
