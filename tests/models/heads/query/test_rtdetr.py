"""RT-DETR keeps the contract of detectors; its losses are computed by hand, its network compared with transformers'."""

import warnings
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from coatseg.errors import ConfigError
from coatseg.models.backbones.coat import CoaT
from coatseg.models.detector import Detector
from coatseg.models.heads.base import ObjectHead
from coatseg.models.heads.query.box_losses import Guesses, Truth
from coatseg.models.heads.query.real_time.losses import layer_losses
from coatseg.models.heads.query.real_time.options import RTDETROptions
from coatseg.models.heads.query.rtdetr import RTDETR, rtdetr
from coatseg.structures import InstanceTarget, Level
from tests.contracts.detector import CLASSES, HARD, LEVELS, SIDE, SMALL, DetectorContract, objects

FEW = RTDETROptions(
    width=32, heads=4, feedforward=64, expansion=0.5, decoder_layers=2, queries=40, denoising=8, norm="group"
)


class TestRTDETR(DetectorContract):
    finest = 8
    steps = 200

    def make(self, levels: tuple[Level, ...], classes: int) -> RTDETR:
        return rtdetr(levels, classes, FEW)

    def set_threshold(self, head: ObjectHead, score: float) -> None:
        assert isinstance(head, RTDETR)
        head.options = replace(head.options, score_threshold=score)


def detector() -> Detector:
    torch.manual_seed(0)
    backbone = CoaT(SMALL)
    return Detector(backbone, rtdetr(backbone.levels, CLASSES, FEW)).train()


def alone(head: RTDETR) -> RTDETR:
    """The head without noisy queries, whose number depends on the batch."""
    head.network.denoising = None
    return head


def counted(losses: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    return {name: loss * count for name, loss in losses.items()}


def test_images_in_a_padded_batch_are_learnt_as_if_each_were_alone() -> None:
    model = detector()
    alone(model.head)  # type: ignore[arg-type]
    sizes = [(64, 60), (40, 96), (64, 40)]
    truth = [
        objects([[4, 4, 30, 20]], (64, 60)),
        objects([[8, 8, 40, 32], [50, 2, 90, 30]], (40, 96)),
        objects([], (64, 40)),
    ]
    images = torch.randn(3, 3, 64, 96)
    together = model(images, sizes, truth)
    each = [
        model(images[place : place + 1, :, :height, :width], None, [truth[place]])
        for place, (height, width) in enumerate(sizes)
    ]
    for name, loss in counted(together, 3).items():
        by_itself = [counted(losses, max(1, len(objects)))[name] for losses, objects in zip(each, truth, strict=True)]
        torch.testing.assert_close(loss, torch.stack(by_itself).sum(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (128, 32)], ids=str)
def test_images_of_any_size_from_32_pixels_on_are_seen(size: tuple[int, int]) -> None:
    model = detector()
    losses = model(torch.randn(1, 3, *size), None, [objects([[3, 4, 20, 30]], size)])
    assert all(loss.isfinite() for loss in losses.values())
    with torch.no_grad():
        (row,) = model.eval()(torch.randn(1, 3, *size))
    assert 0 < len(row.boxes) <= 100


def test_the_noise_follows_the_global_generator() -> None:
    model, images, truth = detector(), torch.randn(1, 3, SIDE, SIDE), [objects([[8, 8, 40, 40]])]

    def step(seed: int) -> dict[str, Tensor]:
        torch.manual_seed(seed)
        return model(images, None, truth)  # type: ignore[no-any-return]

    first, again, other = step(1), step(1), step(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert {name for name in first if not torch.equal(first[name], other[name])} == {
        name for name in first if "denoising" in name
    }


def test_crowds_are_no_objects_to_learn() -> None:
    model = detector()
    alone(model.head)  # type: ignore[arg-type]
    images, lone = torch.randn(1, 3, SIDE, SIDE), objects([[8, 8, 40, 40]])
    both = objects([[8, 8, 40, 40], [0, 50, 96, 96]])
    crowd = InstanceTarget(both.boxes, both.labels, both.masks, torch.tensor([False, True]))
    without, besides = model(images, None, [lone]), model(images, None, [crowd])
    assert all(torch.equal(without[name], besides[name]) for name in without)


def test_more_objects_than_queries_are_said_once() -> None:
    model, images = detector(), torch.randn(1, 3, SIDE, SIDE)
    with pytest.warns(UserWarning, match=r"1000 objects or segments for 40 queries.*head\.queries"):
        model(images, None, [HARD["a thousand"]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model(images, None, [HARD["a thousand"]])


def test_losses_bear_the_names_of_their_layers() -> None:
    losses = detector()(torch.randn(1, 3, SIDE, SIDE), None, [objects([[8, 8, 40, 40]])])
    ends = ("_proposals", "_0", "", "_denoising_0", "_denoising")
    assert set(losses) == {f"{name}{end}" for name in ("classes", "boxes", "giou") for end in ends}


def test_losses_are_those_computed_by_hand() -> None:
    # Two queries, two classes; the first query has half of the object's box, the second is nothing's.
    truth = [Truth(torch.tensor([1]), torch.tensor([[0.5, 0.5, 0.4, 0.4]]))]
    boxes = torch.tensor([[[0.5, 0.4, 0.4, 0.2], [0.1, 0.1, 0.1, 0.1]]])
    losses = layer_losses(Guesses(torch.zeros(1, 2, 2), boxes), truth, [(torch.tensor([0]), torch.tensor([0]))])
    # IoU 0.5; every score is 0.5, so each binary cross entropy is ln 2, weighted by 0.5 once and 0.75 * 0.25 thrice.
    torch.testing.assert_close(losses["classes"], torch.tensor(2.0).log() * (0.5 + 3 * 0.75 * 0.25))
    torch.testing.assert_close(losses["boxes"], torch.tensor(5 * 0.3))
    torch.testing.assert_close(losses["giou"], torch.tensor(2 * 0.5))


def test_an_untrained_network_scores_everything_at_one_percent_where_it_looks() -> None:
    model = detector().eval()
    with torch.no_grad():
        (row,) = model(torch.randn(1, 3, SIDE, SIDE))
    assert row.scores.max() < 0.1
    sides = (row.boxes[:, 2:] - row.boxes[:, :2]) / SIDE
    assert {round(float(side), 3) for side in sides.flatten()} <= {0.05, 0.1, 0.2}


def test_norms_see_one_image_or_the_batch_as_is_chosen() -> None:
    kinds = {
        norm: rtdetr(LEVELS, 3, RTDETROptions(width=32, decoder_layers=1, norm=norm)) for norm in ("group", "batch")
    }  # type: ignore[arg-type]
    found = {
        norm: [module for module in head.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm, head in kinds.items()
    }
    assert not found["group"]
    assert all((module.weight == 1).all() for module in found["batch"])
    assert len(found["batch"]) > 20


def test_a_width_that_the_attention_cannot_share_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"head.width=30 is no multiple.*head.heads=4\.\n.*head.width=128"):
        rtdetr(LEVELS, 3, RTDETROptions(width=30, heads=4))
    with pytest.raises(ConfigError, match=r"head.expansion=0.001 of head.width=256 leaves no channel"):
        rtdetr(LEVELS, 3, RTDETROptions(expansion=0.001))


def test_the_network_is_transformers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import RTDetrV2Config, RTDetrV2ForObjectDetection
    from transformers.models.rt_detr_v2 import modeling_rt_detr_v2

    monkeypatch.setattr(modeling_rt_detr_v2, "load_backbone", lambda config: Shown(config.encoder_in_channels))
    torch.manual_seed(0)
    head = rtdetr(LEVELS, 3, RTDETROptions(width=32, heads=4, feedforward=64, decoder_layers=2, queries=30)).eval()
    theirs = RTDetrV2ForObjectDetection(
        RTDetrV2Config(
            num_labels=3, num_queries=30, encoder_in_channels=[16, 24, 32], encoder_hidden_dim=32, d_model=32,
            decoder_in_channels=[32] * 3, encoder_ffn_dim=64, decoder_ffn_dim=64, encoder_attention_heads=4,
            decoder_attention_heads=4, decoder_layers=2,
        )
    ).eval()  # fmt: skip
    for parameter in head.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    theirs.load_state_dict(dict(renamed(head)), strict=False)
    maps = [torch.randn(2, level.channels, SIDE // level.stride, SIDE // level.stride) for level in LEVELS]
    theirs.model.backbone.model.maps = maps[1:]
    with torch.no_grad():
        ours = head.network(head.maps(maps)).layers[-1]
        outputs = theirs(torch.zeros(2, 3, SIDE, SIDE))
    torch.testing.assert_close(ours.logits, outputs.logits, rtol=0, atol=2e-5)
    torch.testing.assert_close(ours.boxes, outputs.pred_boxes, rtol=0, atol=2e-5)


class Shown(nn.Module):
    """A backbone for transformers that gives the maps it was told."""

    maps: list[Tensor]

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, images: Tensor) -> object:
        return type("Maps", (), {"feature_maps": self.maps})()


RENAMED = {
    "encode.into": "model.encoder_input_proj",
    "encode.encoder": "model.encoder",
    "encode.out": "model.decoder_input_proj",
    "denoising.content": "model.denoising_class_embed",
    "propose": "model.enc_output",
    "first_classes": "model.enc_score_head",
    "first_boxes": "model.enc_bbox_head",
    "decoder.class_embed": "class_embed",
    "decoder.bbox_embed": "bbox_embed",
    "decoder": "model.decoder",
}


def renamed(head: RTDETR) -> Iterator[tuple[str, Tensor]]:
    """The weights by transformers' names."""
    for name, tensor in head.network.state_dict().items():
        place = next(place for place in RENAMED if name.startswith(f"{place}."))
        yield name.replace(place, RENAMED[place], 1), tensor
        if place.startswith("decoder."):
            yield f"model.{name}", tensor
