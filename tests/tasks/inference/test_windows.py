import pytest
import torch
from torch import Tensor

from coatseg.tasks.inference.windows import slide, starts


def pointwise(images: Tensor) -> Tensor:
    """Logits of two classes that know nothing of a pixel's neighbours."""
    return torch.stack([images.sum(1), images[:, 0] * 2], 1)


@pytest.mark.parametrize(
    ("length", "window", "overlap", "begins"),
    [
        (10, 4, 0.0, [0, 4, 6]),  # the last is shifted inwards
        (8, 4, 0.0, [0, 4]),
        (10, 4, 0.5, [0, 2, 4, 6]),
        (4, 4, 0.5, [0]),
        (5, 4, 0.99, [0, 1]),  # a stride is a pixel at least
        (1024, 512, 1 / 3, [0, 341, 512]),  # mmseg's crop of 512 and stride of 341
    ],
)
def test_windows_begin_where_they_cover_a_side_exactly(
    length: int, window: int, overlap: float, begins: list[int]
) -> None:
    assert starts(length, window, overlap) == begins


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (40, 5), (3, 3)])
@pytest.mark.parametrize("overlap", [0.0, 1 / 3, 0.8])
def test_without_context_windows_change_nothing(size: tuple[int, int], overlap: float) -> None:
    images = torch.randn(2, 3, *size)
    torch.testing.assert_close(slide(pointwise, images, (8, 12), overlap, batch=3), pointwise(images))


def test_overlapping_logits_are_averaged_with_equal_weights() -> None:
    # Windows [0, 4), [2, 6), [4, 7) shifted to [3, 7): each says the number of its first pixel.
    images = torch.arange(7.0).reshape(1, 1, 1, 7)
    logits = slide(lambda seen: seen[..., :1].expand_as(seen), images, (1, 4), 0.5, batch=2)
    expected = [0, 0, (0 + 2) / 2, (0 + 2 + 3) / 3, (2 + 3) / 2, (2 + 3) / 2, 3]
    torch.testing.assert_close(logits.flatten(), torch.tensor(expected, dtype=torch.float32))


def test_no_more_windows_than_told_go_through_the_model_at_once() -> None:
    seen: list[tuple[int, ...]] = []

    def model(images: Tensor) -> Tensor:
        seen.append(tuple(images.shape))
        return pointwise(images)

    slide(model, torch.zeros(2, 3, 10, 8), (4, 8), 0.0, batch=4)
    assert seen == [(4, 3, 4, 8), (2, 3, 4, 8)]


def test_an_image_smaller_than_the_window_goes_whole() -> None:
    seen: list[tuple[int, ...]] = []

    def model(images: Tensor) -> Tensor:
        seen.append(tuple(images.shape))
        return pointwise(images)

    slide(model, torch.zeros(1, 3, 5, 20), (8, 12), 0.0, batch=1)
    assert seen == [(1, 3, 5, 12), (1, 3, 5, 12)]
    slide(model, torch.zeros(1, 3, 5, 7), (8, 12), 0.0, batch=1)
    assert seen[-1] == (1, 3, 5, 7)
