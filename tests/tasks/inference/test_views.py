import pytest
import torch
from torch import Tensor

from coatseg.tasks.inference.views import SIGMOID, SOFTMAX, Activation, mean_of_views, view


def left_half(images: Tensor) -> Tensor:
    """Logits of two classes, 3 and 0 in the left half of what it is shown, 0 and 0 in the right one."""
    logits = torch.zeros(len(images), 2, *images.shape[-2:])
    logits[:, 0, :, : images.shape[-1] // 2] = 3
    return logits


def test_a_mirrored_view_comes_back_to_its_place() -> None:
    images = torch.randn(1, 3, 4, 6)
    mirrored = view(lambda seen: seen * 2, images, 1.0, mirrored=True)
    torch.testing.assert_close(mirrored, images * 2)
    assert view(left_half, images, 1.0, mirrored=True)[0, 0, 0].tolist() == [0, 0, 0, 3, 3, 3]


@pytest.mark.parametrize("scale", [0.5, 0.75, 1.5, 0.01])
def test_a_scaled_view_has_the_size_of_the_image(scale: float) -> None:
    seen: list[tuple[int, ...]] = []

    def model(images: Tensor) -> Tensor:
        seen.append(tuple(images.shape[-2:]))
        return left_half(images)

    assert view(model, torch.zeros(2, 3, 8, 12), scale, mirrored=False).shape == (2, 2, 8, 12)
    assert seen == [(max(1, round(8 * scale)), max(1, round(12 * scale)))]


def test_what_is_averaged_is_probability_by_hand() -> None:
    # Left: softmax of (3, 0) in one view, of (0, 0) in the other.
    logits = mean_of_views(left_half, torch.zeros(1, 3, 2, 4), SOFTMAX, (1.0,), flip=True)
    sure = float(torch.tensor([3.0, 0.0]).softmax(0)[0])
    torch.testing.assert_close(logits.softmax(1)[0, 0], torch.full((2, 4), (sure + 0.5) / 2))


def test_for_layers_every_class_is_averaged_by_itself() -> None:
    logits = mean_of_views(left_half, torch.zeros(1, 3, 2, 4), SIGMOID, (1.0,), flip=True)
    sure = float(torch.tensor(3.0).sigmoid())
    torch.testing.assert_close(logits.sigmoid()[0, 0], torch.full((2, 4), (sure + 0.5) / 2))
    torch.testing.assert_close(logits.sigmoid()[0, 1], torch.full((2, 4), 0.5))


@pytest.mark.parametrize("activation", [SOFTMAX, SIGMOID], ids=["softmax", "sigmoid"])
def test_logits_come_back_from_their_probabilities(activation: Activation) -> None:
    logits = activation.logits(activation.probabilities(torch.tensor([[-300.0, 0.0, 300.0], [1.0, 2.0, -1.0]])))
    assert logits.isfinite().all()
    again = activation.probabilities(logits)
    torch.testing.assert_close(again, activation.probabilities(torch.tensor([[-300.0, 0, 300], [1, 2, -1]])))
