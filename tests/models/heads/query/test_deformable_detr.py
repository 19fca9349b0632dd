"""Deformable DETR keeps the contract of detectors, is the authors' definition, and learns from each image alone."""

import warnings
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from coatseg.errors import ConfigError
from coatseg.models.backbones.coat import CoaT
from coatseg.models.detector import Detector
from coatseg.models.heads.base import ObjectHead
from coatseg.models.heads.query.deformable_detr import DeformableDETR, DeformableDETROptions, deformable_detr
from coatseg.structures import InstanceTarget, Level
from coatseg.training.optimization.parameters import rate_shares
from tests.contracts.detector import CLASSES, LEVELS, SIDE, SMALL, DetectorContract, objects

Levels = tuple[Level, ...]
SMALLEST = {"width": 32, "heads": 4, "encoder_layers": 1, "decoder_layers": 2, "feedforward": 32, "queries": 30}
FORMS = {"plain": {}, "refined": {"refine": True}, "two_stage": {"refine": True, "two_stage": True}}


class TestDeformableDETR(DetectorContract):
    finest = 8
    steps = 150

    def make(self, levels: Levels, classes: int) -> DeformableDETR:
        return deformable_detr(levels, classes, DeformableDETROptions(**SMALLEST, **FORMS["refined"], dropout=0.0))

    def set_threshold(self, head: ObjectHead, score: float) -> None:
        assert isinstance(head, DeformableDETR)
        head.options = replace(head.options, score_threshold=score)


class TestInTwoStages(TestDeformableDETR):
    def make(self, levels: Levels, classes: int) -> DeformableDETR:
        return deformable_detr(levels, classes, DeformableDETROptions(**SMALLEST, **FORMS["two_stage"], dropout=0.0))


def made(form: str, levels: Levels = LEVELS, **options: object) -> DeformableDETR:
    torch.manual_seed(0)
    return deformable_detr(levels, CLASSES, DeformableDETROptions(**{**SMALLEST, **FORMS[form], **options}))


def pyramid_of(height: int, width: int) -> list[Tensor]:
    return [torch.randn(1, level.channels, height // level.stride, width // level.stride) for level in LEVELS]


def shaken(module: nn.Module) -> nn.Module:
    """Move the parameters away from where they start, at which much is zero."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return module


@pytest.mark.parametrize("form", FORMS)
def test_in_a_padded_batch_a_training_step_is_that_of_each_image_alone(form: str) -> None:
    torch.manual_seed(0)
    backbone = CoaT(SMALL)
    head = shaken(made(form, backbone.levels, queries=20, dropout=0.0)).eval()
    detector = Detector(backbone, head).train()
    images, sizes = torch.randn(3, 3, 160, 192), [(160, 192), (100, 90), (65, 127)]
    truths = [objects([[8, 8, 40, 40], [48, 20, 60, 52]], size) for size in sizes]
    outputs: list[list[Tensor]] = []
    head.transformer.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    together = detector(images, sizes, truths)
    alone = [
        detector(image[None, :, :height, :width], None, [truth])
        for image, truth, (height, width) in zip(images, truths, sizes, strict=True)
    ]
    for name, loss in together.items():  # each is a mean over objects, of which every image has two
        torch.testing.assert_close(loss, torch.stack([losses[name] for losses in alone]).mean(), rtol=1e-5, atol=1e-5)
    for part in (0, 1):
        torch.testing.assert_close(
            outputs[0][part], torch.cat([output[part] for output in outputs[1:]], dim=1), rtol=0, atol=2e-5
        )


def test_class_layers_start_from_the_prior_and_boxes_from_their_points() -> None:
    for form, layers in {"plain": 1, "refined": 2, "two_stage": 3}.items():
        transformer = made(form).transformer
        assert len(transformer.class_embed) == len(transformer.bbox_embed) == layers
        assert all(torch.allclose(layer.bias, torch.tensor(-4.59512)) for layer in transformer.class_embed)
        last = [layer.layers[-1] for layer in transformer.bbox_embed]
        assert not any(layer.weight.any() for layer in last)
        assert last[0].bias.tolist() == ([0, 0, 0, 0] if form == "two_stage" else [0, 0, -2, -2])
        assert not any(layer.bias.any() for layer in last[1:])


def test_the_layers_that_say_where_to_look_are_trained_at_a_tenth_of_the_rate() -> None:
    detector = Detector(CoaT(SMALL), made("plain"))
    shares = rate_shares(detector, layer_decay=0.5)
    slower = {name for name, share in shares.items() if name.startswith("head.") and share == 0.1}
    assert slower == {name for name in shares if ".sampling_offsets." in name or ".reference_points." in name}
    assert len(slower) == 2 * 3 + 2
    assert {share for name, share in shares.items() if name.startswith("head.")} == {0.1, 1.0}
    assert min(shares.values()) < 0.1  # the backbone's, from layer to layer


def test_every_layer_has_losses_by_name_and_the_first_stage_too() -> None:
    names = {"classes", "boxes", "giou"}
    truth, pyramid = objects([[8, 8, 40, 40]]), pyramid_of(SIDE, SIDE)
    for options, suffixes in (
        ({"refine": True, "two_stage": True}, ("", "_0", "_proposals")),
        ({}, ("", "_0")),
        ({"auxiliary": False}, ("",)),
        ({"decoder_layers": 1}, ("",)),
    ):
        losses = made("plain", **options)(torch.zeros(1, 3, SIDE, SIDE), pyramid, [(SIDE, SIDE)], [truth])
        assert set(losses) == {name + suffix for name in names for suffix in suffixes}


def test_crowds_are_no_objects_to_learn() -> None:
    head, pyramid = made("plain", dropout=0.0), pyramid_of(SIDE, SIDE)
    one, two = objects([[8, 8, 40, 40]]), objects([[8, 8, 40, 40], [50, 50, 90, 90]])
    crowd = InstanceTarget(two.boxes, two.labels, two.masks, torch.tensor([False, True]))
    losses = [head(torch.zeros(1, 3, SIDE, SIDE), pyramid, [(SIDE, SIDE)], [truth]) for truth in (one, crowd)]
    assert losses[0] == losses[1]


def test_more_objects_than_queries_are_said_once_with_the_option() -> None:
    head, pyramid = made("plain", queries=2), pyramid_of(SIDE, SIDE)
    many = objects([[n, n, n + 9, n + 9] for n in range(5)])
    with pytest.warns(UserWarning, match=r"5 objects or segments for 2 queries(.|\n)*head\.queries"):
        head(torch.zeros(1, 3, SIDE, SIDE), pyramid, [(SIDE, SIDE)], [many])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        head(torch.zeros(1, 3, SIDE, SIDE), pyramid, [(SIDE, SIDE)], [many])


def test_where_a_small_image_has_fewer_queries_the_mend_is_another() -> None:
    head, pyramid = made("two_stage", queries=300), pyramid_of(64, 32)
    many = objects([[n % 20, n % 30, n % 20 + 9, n % 30 + 9] for n in range(50)])
    with pytest.warns(UserWarning, match=r"50 objects or segments for 43 queries(.|\n)*head\.finest"):
        head(torch.zeros(1, 3, 64, 32), pyramid, [(64, 32)], [many])


def test_small_images_have_fewer_proposals_than_queries() -> None:
    head = made("two_stage", queries=300).eval()
    pyramid = pyramid_of(64, 32)
    (found,) = head(torch.zeros(1, 3, 64, 32), pyramid, [(64, 32)])
    assert len(found.boxes) == 100
    tokens = 32 + 8 + 2 + 1
    assert head.transformer(pyramid[1:], head.canvases((64, 32), [(64, 32)])).logits.shape[2] == tokens


@pytest.mark.parametrize(
    ("options", "words"),
    [({"two_stage": True}, r"head\.refine=true"), ({"width": 40}, r"head\.width=40(.|\n)*multiple")],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        made("plain", **options)
