"""Panoptic-DeepLab works on the decoder of every dense head, and says which one cannot be."""

import pytest
import torch

from coatseg.config.combinations import gives
from coatseg.errors import ConfigError
from coatseg.models.heads.panoptic.deeplab import PanopticDeepLab, is_decoder
from coatseg.registry.names import table
from tests.contracts.head import LEVELS, pyramid

SMALL = {
    "deeplabv3": {"width": 16},
    "deeplabv3plus": {"width": 16},
    "dpt": {"widths": [8, 8, 8, 8], "width": 16},
    "fcn": {"width": 16},
    "fpn": {"pyramid_width": 16, "width": 32},
    "linknet": {"width": 16},
    "manet": {"widths": [16, 16, 16, 16, 16], "attention_width": 8},
    "pan": {"width": 16},
    "pspnet": {"width": 16},
    "segformer": {"width": 16},
    "unet": {"widths": [16, 16, 16, 16, 16]},
    "unetplusplus": {"widths": [16, 16, 16, 16, 16]},
    "upernet": {"width": 16},
}


def test_every_dense_head_has_a_decoder() -> None:
    assert set(SMALL) == {name for name, head in table("head").items() if is_decoder(head)}
    assert set(SMALL) <= {name for name in table("head") if "logits" in gives(name)}


@pytest.mark.parametrize("decoder", SMALL)
def test_its_maps_have_the_size_of_the_images_whatever_the_decoder(decoder: str) -> None:
    head = PanopticDeepLab(LEVELS, 5, (1, 2), decoder=decoder, decoder_options=SMALL[decoder], width=16).eval()
    with torch.no_grad():
        maps = head.predict(torch.zeros(2, 3, 64, 96), pyramid(2, 64, 96))
    assert [tuple(each.shape) for each in maps] == [(2, 5, 64, 96), (2, 1, 64, 96), (2, 2, 64, 96)]


def test_finer_maps_have_more_to_tell_than_a_decoder_has_positions() -> None:
    head = PanopticDeepLab(LEVELS, 5, (1,), decoder="segformer", decoder_options={"width": 16}, width=16, finer=4)
    assert head.strides == (4,)
    logits = head.classes(torch.randn(1, 16, 8, 8))
    assert logits.shape == (1, 5, 32, 32)


def test_offsets_begin_near_nothing_and_count_in_pixels() -> None:
    head = PanopticDeepLab(LEVELS, 5, (1,), decoder="segformer", decoder_options={"width": 16}, width=16)
    torch.nn.init.zeros_(head.offsets[4].weight)
    torch.nn.init.ones_(head.offsets[4].bias)
    maps = head.predict(torch.zeros(1, 3, 64, 64), pyramid(1, 64, 64))
    torch.testing.assert_close(maps.offsets, torch.full((1, 2, 64, 64), 4.0))


def test_a_head_that_is_no_decoder_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"head.decoder=mask_rcnn is no decoder.*\n.*deeplabv3plus.*upernet"):
        PanopticDeepLab(LEVELS, 5, (1,), decoder="mask_rcnn")
    with pytest.raises(ConfigError, match=r"head.instance_decoder=unett is no decoder.*\n.*unet"):
        PanopticDeepLab(LEVELS, 5, (1,), instance_decoder="unett")


def test_an_option_that_a_decoder_has_not_is_named() -> None:
    with pytest.raises(ConfigError, match=r"head.decoder_options.width is no option of unet.*\n.*widths"):
        PanopticDeepLab(LEVELS, 5, (1,), decoder="unet", decoder_options={"width": 16})


def test_options_of_no_decoder_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"head.instance_decoder_options(.|\n)*Set head.instance_decoder"):
        PanopticDeepLab(LEVELS, 5, (1,), instance_decoder_options={"width": 64})


def test_options_of_another_decoder_are_told_how_to_go() -> None:
    with pytest.raises(ConfigError, match=r"pyramid_width is no option of unet(.|\n)*~head.decoder_options"):
        PanopticDeepLab(LEVELS, 5, (1,), decoder="unet", decoder_options={"pyramid_width": 64})
