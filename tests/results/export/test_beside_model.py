from dataclasses import replace

import torch

from coatseg.results.export.beside_model import images_of
from coatseg.scenes.dataset import INFO


def test_scenes_of_other_channels_repeat_the_three() -> None:
    info = replace(INFO, mean=(*INFO.mean, 0.0), std=(*INFO.std, 1.0))
    images = images_of(info, (40, 48), 1, preprocess=True)
    assert images.shape == (1, 4, 40, 48)
    assert torch.equal(images[:, 3], images[:, 0])
    assert images.max() > 1


def test_sizes_too_small_for_a_scene_see_a_part_of_one() -> None:
    part, scene = (images_of(INFO, (height, 40), 1, preprocess=True) for height in (1, 32))
    assert torch.equal(part, scene[:, :, :1])
