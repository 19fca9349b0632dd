import torch

from coatseg.build import create_backbone
from coatseg.heads.semantic import fpn
from coatseg.model import Model


def model(channels: int = 3) -> Model:
    backbone = create_backbone("coat_lite_tiny", in_channels=channels)
    return Model(backbone, fpn(backbone.levels, 4, pyramid_width=16, width=32)).eval()


def test_logits_have_the_size_of_the_images_and_are_float32() -> None:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits = model()(torch.randn(1, 3, 50, 33))
    assert logits.shape == (1, 4, 50, 33)
    assert logits.dtype == torch.float32


def test_padding_is_the_mean_colour_at_the_bottom_and_right() -> None:
    network = model()
    image = torch.randn(1, 3, 64, 64)
    image[..., 40:, :] = 0
    image[..., 50:] = 0
    with torch.no_grad():
        torch.testing.assert_close(network(image[..., :40, :50]), network(image)[..., :40, :50])


def test_images_smaller_than_any_stride_are_padded_too() -> None:
    with torch.no_grad():
        assert model(4)(torch.randn(2, 4, 5, 7)).shape == (2, 4, 5, 7)
