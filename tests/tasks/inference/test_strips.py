"""Pieces of a stream are those of the whole prediction by windows; of one view to the last bit."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from coatseg.structures import Size
from coatseg.tasks.inference import options, strips
from coatseg.tasks.inference.options import Inference
from coatseg.tasks.inference.strips import LargeMap, Rows
from coatseg.tasks.inference.views import SIGMOID, SOFTMAX, Activation
from coatseg.tasks.inference.windows import slide

WEIGHT = torch.randn(3, 3, 5, 5, generator=torch.Generator().manual_seed(1))


def model(images: Tensor) -> Tensor:
    """Logits that depend on a pixel's neighbours, and so on where a window ends."""
    return functional.conv2d(images, WEIGHT, padding=2)


def held(image: Tensor) -> LargeMap:
    def strip(left: int, right: int) -> Rows:
        return lambda top, bottom: image[:, top:bottom, left:right]

    return LargeMap((image.shape[1], image.shape[2]), strip)


def assembled(
    image: Tensor, inference: Inference, activation: Activation = SOFTMAX, size: Size | None = None
) -> Tensor:
    whole = torch.full((3, *(size or image.shape[1:])), torch.nan)
    for top, left, logits in inference.stream(model, held(image), activation, 3, size):
        part = whole[:, top : top + logits.shape[1], left : left + logits.shape[2]]
        assert part.isnan().all()  # every pixel comes once
        part.copy_(logits)
    return whole


@pytest.fixture(params=[(2**29, 2**26), (4000, 500), (0, 0)], ids=["one strip", "strips", "the least"])
def limits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    sums, piece = request.param
    monkeypatch.setattr(options, "SUMS_BYTES", sums)
    monkeypatch.setattr(strips, "PIECE_BYTES", piece)


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (40, 5), (3, 3), (23, 24), (9, 60)])
@pytest.mark.parametrize("overlap", [0.0, 1 / 3, 0.5, 0.8, 0.95])
@pytest.mark.parametrize(("window", "batch"), [((8, 12), 3), ((7, 5), 1), ((64, 64), 4), ((16, 4), 7)])
@pytest.mark.usefixtures("limits")
def test_the_pieces_are_those_of_all_windows_at_once(
    size: tuple[int, int], overlap: float, window: tuple[int, int], batch: int
) -> None:
    image = torch.randn(3, *size)
    inference = Inference(window=window, overlap=overlap, window_batch=batch)
    assert torch.equal(assembled(image, inference), slide(model, image[None], window, overlap, batch)[0])


@pytest.mark.parametrize("size", [(17, 31), (40, 5), (1, 1)])
@pytest.mark.parametrize(
    ("scales", "flip"), [((1.0,), True), ((0.5, 1.0, 1.75), True), ((0.2,), False), ((4.0,), True)]
)
@pytest.mark.parametrize(("window", "overlap"), [((8, 12), 0.0), ((7, 5), 1 / 3), ((64, 64), 1 / 3)])
@pytest.mark.usefixtures("limits")
def test_the_pieces_of_views_are_those_of_whole_views(
    size: tuple[int, int], scales: tuple[float, ...], flip: bool, window: tuple[int, int], overlap: float
) -> None:
    image = torch.randn(3, *size)
    inference = Inference(window=window, overlap=overlap, scales=scales, flip=flip)
    for activation in (SOFTMAX, SIGMOID):
        whole = inference(model, image[None], activation)[0]
        given = assembled(image, inference, activation)
        torch.testing.assert_close(given, whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(33, 50), (10, 7), (16, 20)])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.usefixtures("limits")
def test_the_pieces_at_another_size_are_those_of_the_resized_whole(size: Size, flip: bool) -> None:
    image = torch.randn(3, 16, 20)
    inference = Inference(window=(8, 8), flip=flip)
    whole = inference(model, image[None], SOFTMAX)
    expected = functional.interpolate(whole, size, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(assembled(image, inference, size=size), expected, rtol=1e-4, atol=1e-4)


def test_a_window_as_large_as_the_image_is_the_whole_image() -> None:
    image = torch.randn(3, 20, 30)
    assert torch.equal(assembled(image, Inference(window=(20, 30))), model(image[None])[0])


def largest_made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note how many numbers every new tensor of sums has."""
    made: list[int] = []
    new = Tensor.new_empty

    def counted(like: Tensor, *shape: int) -> Tensor:
        made.append(math.prod(shape))
        return new(like, *shape)

    monkeypatch.setattr(Tensor, "new_empty", counted)
    return made


@pytest.mark.parametrize("flip", [False, True])
def test_neither_height_nor_width_of_the_image_counts(monkeypatch: pytest.MonkeyPatch, flip: bool) -> None:
    made = largest_made(monkeypatch)
    monkeypatch.setattr(strips, "PIECE_BYTES", 0)
    inference = Inference(window=(16, 16), overlap=0.25, flip=flip)
    assembled(torch.randn(3, 256, 64), inference)
    assert max(made) == 3 * 17 * 64  # K, the rows of a window and a piece, the width
    made.clear()
    monkeypatch.setattr(options, "SUMS_BYTES", 4 * 3 * 16 * 50)
    assembled(torch.randn(3, 64, 1024), inference)
    assert max(made) == 3 * 17 * (24 if flip else 48)  # a view's share of 50 columns, in whole strides of 12


def test_many_classes_go_through_in_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(strips, "LOGITS_BYTES", 4 * 3 * 64 * 2)

    def watched(images: Tensor) -> Tensor:
        seen.append(len(images))
        return model(images)

    image = torch.randn(3, 16, 32)
    list(Inference(window=(8, 8), overlap=0.0).stream(watched, held(image), SOFTMAX, 3))
    assert seen == [2] * 4
