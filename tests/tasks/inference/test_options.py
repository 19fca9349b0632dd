import pytest
import torch
from torch import Tensor

from coatseg.config.read import read_inference
from coatseg.errors import ConfigError
from coatseg.tasks.inference.options import WHOLE, Inference
from coatseg.tasks.inference.views import SOFTMAX


class Recorder:
    """A model of one colour a class that remembers what it was shown."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.seen.append(images)
        return images.clone()

    @property
    def sizes(self) -> list[tuple[int, ...]]:
        return [tuple(images.shape[-2:]) for images in self.seen]


def test_by_default_the_model_sees_the_whole_image_once_and_its_logits_stay() -> None:
    model, images = Recorder(), torch.randn(2, 3, 9, 7)
    assert torch.equal(WHOLE(model, images, SOFTMAX), images)
    assert len(model.seen) == 1
    assert torch.equal(model.seen[0], images)


def test_windows_slide_over_the_scaled_image() -> None:
    model = Recorder()
    inference = Inference(window=(8, 8), overlap=0.0, scales=(1.0, 2.0), window_batch=1)
    assert inference(model, torch.zeros(1, 3, 8, 8), SOFTMAX).shape == (1, 3, 8, 8)
    assert model.sizes == [(8, 8)] * (1 + 4)


def test_flip_doubles_the_views() -> None:
    model, images = Recorder(), torch.randn(1, 3, 4, 4)
    logits = Inference(flip=True, scales=(0.5, 1.0))(model, images, SOFTMAX)
    assert model.sizes == [(2, 2), (2, 2), (4, 4), (4, 4)]
    assert torch.equal(model.seen[3], images.flip(-1))
    torch.testing.assert_close(logits.softmax(1).sum(1), torch.ones(1, 4, 4))


def test_windows_and_flip_of_a_model_without_context_change_no_probability() -> None:
    images = torch.randn(2, 3, 20, 13)
    logits = Inference(window=(8, 6), overlap=0.25, flip=True)(Recorder(), images, SOFTMAX)
    torch.testing.assert_close(logits.softmax(1), images.softmax(1))


def test_a_section_becomes_the_way_to_infer() -> None:
    assert read_inference(None) == read_inference({}) == WHOLE
    section = {"window": [64, 96], "overlap": 0, "scales": [1, 2], "flip": True}
    assert read_inference(section) == Inference(window=(64, 96), overlap=0.0, scales=(1.0, 2.0), flip=True)


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"window": [512]}, r"inference.window=\[512\] does not fit.\nGive \[height, width\]"),
        ({"window": 512}, "or null for whole images"),
        ({"window": [0, 512]}, "such as"),
        ({"window": [512.5, 512]}, "such as"),
        ({"overlap": 1}, "inference.overlap=1 does not fit.\nGive the share of a window from 0 up to"),
        ({"overlap": -0.1}, "inference.overlap=-0.1"),
        ({"scales": []}, r"inference.scales=\[\] does not fit.\nGive factors above 0"),
        ({"scales": [1.0, 0]}, "factors above 0"),
        ({"scales": [float("nan")]}, "factors above 0"),
        ({"scales": [float("inf")]}, "factors above 0"),
        ({"scales": 1.5}, "factors above 0"),
        ({"flip": "both"}, "inference.flip=both does not fit"),
        ({"windw": [1, 1]}, "Did you mean window?"),
        ("tta", "inference=tta does not fit"),
    ],
)
def test_what_does_not_fit_is_answered_with_what_does(section: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read_inference(section)


def test_a_report_says_it_in_words() -> None:
    assert WHOLE.words == "whole images"
    tta = Inference(window=(512, 256), scales=(0.5, 1.0), flip=True)
    assert tta.words == "windows of 512x256 that overlap by 0.3333, scales 0.5, 1, mirrored too"
