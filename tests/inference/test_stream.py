"""Pieces of a stream are those of the whole sliding-window prediction, to the last bit."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from coatseg.inference.stream import SUMS_BYTES, Strip, stream, strips
from coatseg.inference.windows import slide

WEIGHT = torch.randn(3, 3, 5, 5, generator=torch.Generator().manual_seed(1))


def model(images: Tensor) -> Tensor:
    """Logits that depend on a pixel's neighbours, and so on where a window ends."""
    return functional.conv2d(images, WEIGHT, padding=2)


def assembled(image: Tensor, window: tuple[int, int], overlap: float, batch: int) -> Tensor:
    _, height, width = image.shape
    whole = torch.full((3, height, width), torch.nan)
    pieces = stream(
        model,
        lambda top, left, high, wide: image[:, top : top + high, left : left + wide],
        (height, width),
        window,
        overlap,
        batch,
        classes=3,
    )
    for top, left, logits in pieces:
        part = whole[:, top : top + logits.shape[1], left : left + logits.shape[2]]
        assert part.isnan().all()  # every pixel comes once
        part.copy_(logits)
    return whole


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (40, 5), (3, 3), (23, 24), (9, 60)])
@pytest.mark.parametrize("overlap", [0.0, 1 / 3, 0.5, 0.8, 0.95])
@pytest.mark.parametrize(("window", "batch"), [((8, 12), 3), ((7, 5), 1), ((64, 64), 4), ((16, 4), 7)])
@pytest.mark.parametrize("sums", [SUMS_BYTES, 4000, 0], ids=["one strip", "strips", "a window a strip"])
def test_the_pieces_are_those_of_all_windows_at_once(
    size: tuple[int, int],
    overlap: float,
    window: tuple[int, int],
    batch: int,
    sums: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("coatseg.inference.stream.SUMS_BYTES", sums)
    image = torch.randn(3, *size)
    assert torch.equal(assembled(image, window, overlap, batch), slide(model, image[None], window, overlap, batch)[0])


def test_a_window_as_large_as_the_image_is_the_whole_image() -> None:
    image = torch.randn(3, 20, 30)
    assert torch.equal(assembled(image, (20, 30), 1 / 3, 4), model(image[None])[0])


def test_strips_are_cut_where_windows_begin() -> None:
    lefts = [0, 8, 16, 24, 32, 37]  # of windows of 12 on 49 columns
    assert strips(lefts, 12, 49, 49) == [Strip(0, 49, lefts)]
    assert strips(lefts, 12, 49, 30) == [Strip(0, 24, [0, 8, 16]), Strip(24, 37, [16, 24, 32]), Strip(37, 49, [32, 37])]
    assert [strip.lefts for strip in strips(lefts, 12, 49, 0)] == [[0], [0, 8], [8, 16], [16, 24], [24, 32], [32, 37]]


def test_the_width_of_the_image_does_not_count_either(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = largest_kept(monkeypatch)
    monkeypatch.setattr("coatseg.inference.stream.SUMS_BYTES", 4 * 3 * 4 * 50)
    assembled(torch.randn(3, 64, 1024), (16, 16), 0.25, 1)
    assert max(kept) == 3 * 16 * 16  # a window's


def test_many_classes_go_through_in_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr("coatseg.inference.stream.LOGITS_BYTES", 4 * 3 * 64 * 2)

    def watched(images: Tensor) -> Tensor:
        seen.append(len(images))
        return model(images)

    image = torch.randn(3, 16, 40)
    list(
        stream(
            watched,
            lambda top, left, high, wide: image[:, top : top + high, left : left + wide],
            (16, 40),
            (8, 8),
            0.0,
            4,
            classes=3,
        )
    )
    assert seen == [2] * 5


def largest_kept(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note how many numbers every new tensor of zeros has."""
    kept: list[int] = []
    new_zeros = Tensor.new_zeros

    def counted(tensor: Tensor, *size: int) -> Tensor:
        made = new_zeros(tensor, *size)
        kept.append(made.numel() if made.ndim == 3 else 0)  # logits, not the counts of windows
        return made

    monkeypatch.setattr(Tensor, "new_zeros", counted)
    return kept


def test_only_rows_that_are_seen_again_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = largest_kept(monkeypatch)
    assembled(torch.randn(3, 256, 64), (16, 16), 0.25, 1)
    assert max(kept) == 3 * 4 * 64  # K, a quarter of the window's rows, the width
