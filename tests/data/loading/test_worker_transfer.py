import pickle
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch

from coatseg.data.loading.worker_transfer import DrawnSamples
from coatseg.scenes import Scenes
from coatseg.structures import Sample


def scenes(count: int, parts: int = 1) -> DrawnSamples:
    dataset = Scenes("train", size=(45, 67), train_images=count)
    repeated = tuple(index == count - 1 for index in range(count))
    return DrawnSamples(tuple(dataset[index] for index in range(count)), repeated, dataset.info, parts)


def sent(drawn: DrawnSamples) -> DrawnSamples:
    return pickle.loads(ForkingPickler.dumps(drawn))


def test_batches_are_the_same_after_the_journey() -> None:
    drawn = scenes(4, parts=2)
    there, here = sent(drawn).batches(), drawn.batches()
    assert [batch.ids for batch in there] == [batch.ids for batch in here]
    assert [batch.repeated for batch in there] == [(False, False), (False, True)]
    for one, other in zip(there, here, strict=True):
        torch.testing.assert_close(one.images, other.images, rtol=0, atol=0)
        assert len(one.step_targets) == 4
        for of_one, of_other in zip(one.step_targets, other.step_targets, strict=True):
            assert torch.equal(of_one.label_map, of_other.label_map)
            assert torch.equal(of_one.instances.boxes, of_other.instances.boxes)
            assert torch.equal(of_one.instances.masks, of_other.instances.masks)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_every_array_arrives_whole_aligned_and_writeable(dtype: type) -> None:
    drawn = scenes(2)
    odd = np.arange(5 * 7 * 3).reshape(5, 7, 3).astype(dtype)
    empty = np.zeros((5, 7, 0), np.uint8)
    samples = tuple(Sample(name, odd, (5, 7), layers=empty) for name in "ab")
    for sample in sent(replace(drawn, samples=samples)).samples:
        np.testing.assert_array_equal(sample.image, odd)
        assert sample.image.dtype == dtype
        assert sample.image.flags.aligned
        assert sample.image.flags.writeable
        assert sample.layers.shape == (5, 7, 0)


def test_pixels_travel_as_bytes() -> None:
    drawn = scenes(2)
    _, (content, memory, _) = drawn.__reduce__()
    held = sum(array.nbytes for sample in drawn.samples for array in (sample.image, sample.label_map))
    assert memory.dtype == torch.uint8
    assert memory.numel() >= held
    assert len(content) < held
