"""Every detector keeps the contract; what they share is compared with torchvision and computed by hand."""

from collections.abc import Callable

import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import roi_align

from coatseg.config.combinations import gives
from coatseg.errors import ConfigError
from coatseg.models.backbones.coat import CoaT
from coatseg.models.backbones.variants import VARIANTS
from coatseg.models.detector import Detector
from coatseg.models.heads.base import ObjectHead
from coatseg.models.heads.detection.base import Anchors, DetectorOptions
from coatseg.models.heads.detection.cascade import (
    Cascade,
    CascadeMaskRCNN,
    CascadeRCNN,
    MaskCascade,
    cascade_mask_rcnn,
    cascade_rcnn,
)
from coatseg.models.heads.detection.cascade_steps import STEPS
from coatseg.models.heads.detection.detections import paste_masks
from coatseg.models.heads.detection.one_stage import FCOSOptions, OneStage, fcos, retinanet
from coatseg.models.heads.detection.rcnn import RCNN, MaskRCNN, TwoStage, faster_rcnn, mask_rcnn
from coatseg.models.heads.detection.regions import RegionPooler, mask_targets
from coatseg.registry.names import create_backbone, make, table
from coatseg.structures import Level, parameter_count
from tests.contracts.detector import HARD, LEVELS, SIDE, SMALL, DetectorContract, objects

Levels = tuple[Level, ...]
DETECTORS = "coatseg.models.heads.detection."
FEW = {"width": 16, "proposals": (200, 100), "regions": 64, "norm": "group"}


class TestFasterRCNN(DetectorContract):
    def make(self, levels: Levels, classes: int) -> TwoStage:
        return faster_rcnn(levels, classes, RCNN(**FEW))

    def set_threshold(self, head: ObjectHead, score: float) -> None:
        assert isinstance(head, TwoStage)
        head.regions.score_thresh = score


class TestMaskRCNN(TestFasterRCNN):
    masks = True

    def make(self, levels: Levels, classes: int) -> TwoStage:
        return mask_rcnn(levels, classes, MaskRCNN(mask_width=8, box_head="conv", **FEW))


class TestCascadeRCNN(DetectorContract):
    def make(self, levels: Levels, classes: int) -> Cascade:
        return cascade_rcnn(levels, classes, CascadeRCNN(**FEW))

    def set_threshold(self, head: ObjectHead, score: float) -> None:
        assert isinstance(head, Cascade)
        head.score_threshold = score


class TestCascadeMaskRCNN(TestCascadeRCNN):
    masks = True

    def make(self, levels: Levels, classes: int) -> MaskCascade:
        options = CascadeMaskRCNN(mask_width=8, box_head="conv", box_norm="batch", box_loss="giou", **FEW)
        return cascade_mask_rcnn(levels, classes, options)


class TestRetinaNet(DetectorContract):
    finest = 8
    steps = 200

    def make(self, levels: Levels, classes: int) -> OneStage:
        return retinanet(levels, classes, DetectorOptions(width=16, norm="group"))

    def set_threshold(self, head: ObjectHead, score: float) -> None:
        assert isinstance(head, OneStage)
        head.detector.score_thresh = score


class TestFCOS(TestRetinaNet):
    def make(self, levels: Levels, classes: int) -> OneStage:
        return fcos(levels, classes, FCOSOptions(width=32, norm="group"))


def test_every_detector_of_the_table_is_tested_here() -> None:
    contracts = {name.removeprefix("Test").lower() for name in globals() if name.startswith("Test")}
    detectors = {name for name, head in table("head").items() if head.__module__.startswith(DETECTORS)}
    assert {head.replace("_", "") for head in detectors if "logits" not in gives(head)} <= contracts


def test_anchors_are_where_the_strides_put_them() -> None:
    # A map of 13 positions over 800 padded pixels: torchvision would put its anchors 61 pixels apart.
    anchors = Anchors((64,), [(128.0,)], (1.0,))
    (rows,) = anchors(ImageList(torch.zeros(1, 3, 800, 800), [(800, 800)]), [torch.zeros(1, 8, 13, 13)])
    assert rows[1].tolist() == [0.0, -64.0, 128.0, 64.0]
    assert rows[-1].tolist() == [704.0, 704.0, 832.0, 832.0]


def test_anchors_have_the_areas_and_ratios_of_the_paper_unrounded() -> None:
    rows = Anchors((4,), [(32.0,)], (0.5, 1.0, 2.0)).cell_anchors[0]
    width, height = (rows[:, 2:] - rows[:, :2]).unbind(1)
    torch.testing.assert_close(width * height, torch.full((3,), 1024.0))
    torch.testing.assert_close(height / width, torch.tensor([0.5, 1.0, 2.0]))
    torch.testing.assert_close(rows.round(), AnchorGenerator(((32,),), ((0.5, 1.0, 2.0),)).cell_anchors[0])


def test_anchors_are_float32_for_maps_of_16_bit() -> None:
    anchors = Anchors((4,), [(32.0,)], (1.0,))
    (rows,) = anchors(ImageList(torch.zeros(1, 3, 4096, 8), [(4096, 8)]), [torch.zeros(1, 8, 1024, 2).bfloat16()])
    assert rows.dtype == torch.float32
    assert rows[-1].tolist() == [-12.0, 4076.0, 20.0, 4108.0]


def test_a_region_is_pooled_at_the_level_that_suits_its_size_and_aligned() -> None:
    maps = {
        str(number): torch.randn(2, 4, 256 // stride, 256 // stride) for number, stride in enumerate((4, 8, 16, 32))
    }
    maps["4"] = torch.full((2, 4, 4, 4), torch.nan)  # the proposals' own
    pooler = RegionPooler((4, 8, 16, 32, 64), 7)
    boxes = [torch.tensor([[10.0, 10, 40, 40]]), torch.tensor([[0.0, 0, 250, 250], [30, 30, 150, 160]])]
    pooled = pooler(maps, boxes)
    by_hand = [
        roi_align(maps["0"], torch.tensor([[0.0, 10, 10, 40, 40]]), 7, 1 / 4, 0, aligned=True),
        roi_align(maps["2"], torch.tensor([[1.0, 0, 0, 250, 250]]), 7, 1 / 16, 0, aligned=True),
        roi_align(maps["1"], torch.tensor([[1.0, 30, 30, 150, 160]]), 7, 1 / 8, 0, aligned=True),
    ]
    torch.testing.assert_close(pooled, torch.cat(by_hand))


def test_an_aligned_region_of_whole_pixels_is_those_pixels() -> None:
    features = torch.arange(64.0).reshape(1, 1, 8, 8)
    pooled = RegionPooler((4,), 2)({"0": features}, [torch.tensor([[8.0, 8.0, 16.0, 16.0]])])
    assert pooled.flatten().tolist() == [18.0, 19.0, 26.0, 27.0]


def test_a_mask_fills_its_box_and_nothing_else() -> None:
    full = torch.ones(1, 1, 28, 28)
    pasted = paste_masks(full, torch.tensor([[2.0, 3.0, 6.0, 5.0]]), (8, 10))
    wanted = torch.zeros(8, 10, dtype=torch.bool)
    wanted[3:5, 2:6] = True
    assert torch.equal(pasted[0], wanted)


def test_a_half_mask_fills_half_of_its_box() -> None:
    half = torch.zeros(1, 1, 28, 28)
    half[..., :14] = 1
    pasted = paste_masks(half, torch.tensor([[0.0, 0.0, 8.0, 4.0]]), (4, 8))
    assert pasted[0].sum(1).tolist() == [4] * 4
    assert pasted[0, :, :4].all()


def test_masks_are_pasted_in_parts_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    masks, boxes = torch.rand(5, 1, 28, 28), torch.tensor([[1.0, 2.0, 30.5, 17.25]]).repeat(5, 1)
    whole = paste_masks(masks, boxes, (24, 32))
    monkeypatch.setattr("coatseg.models.heads.detection.regions.PIXELS_AT_ONCE", 24 * 32 * 2)
    assert torch.equal(paste_masks(masks, boxes, (24, 32)), whole)


def test_the_cascade_asks_more_of_every_step() -> None:
    assert [step.iou for step in STEPS] == [0.5, 0.6, 0.7]
    head = cascade_rcnn(LEVELS, 3, CascadeRCNN(width=16))
    deviations = [[1 / weight for weight in step.box_coder.weights] for step in head.boxes_by]
    assert deviations == [
        pytest.approx([0.1, 0.1, 0.2, 0.2]), pytest.approx([0.05, 0.05, 0.1, 0.1]),
        pytest.approx([0.033, 0.033, 0.067, 0.067]),
    ]  # fmt: skip


def test_a_giou_loss_is_zero_for_boxes_that_need_no_refinement() -> None:
    step = cascade_rcnn(LEVELS, 3, CascadeRCNN(width=16, box_loss="giou")).boxes_by[0]
    boxes = torch.tensor([[1.0, 2, 30, 40], [5, 5, 9, 9]])
    loss = step.loss(torch.zeros(2, 4), torch.zeros(2, 4, 4), boxes, torch.tensor([1, 0]), boxes)
    assert loss["boxes"].item() == pytest.approx(0, abs=1e-5)
    assert loss["classes"].item() == pytest.approx(torch.tensor(4.0).log().item())


def test_batch_norms_are_those_of_the_box_heads_convolutions_alone() -> None:
    head = cascade_mask_rcnn(LEVELS, 3, CascadeMaskRCNN(width=16, box_head="conv", box_norm="batch"))
    norms = [name for name, module in head.named_modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms == [f"steps.{step}.box_head.{number}.1" for step in range(3) for number in range(4)]
    with pytest.raises(ConfigError, match=r"head.box_norm=batch.*\n.*head.box_head=conv"):
        mask_rcnn(LEVELS, 3, MaskRCNN(box_norm="batch"))


def test_mask_rcnn_has_the_usual_size() -> None:
    # Detectron2's Mask R-CNN on ResNet-50 of 44.4 M parameters, without that of 23.5 M, on its 80 classes.
    levels = (Level(4, 256), Level(8, 512), Level(16, 1024), Level(32, 2048))
    assert parameter_count(mask_rcnn(levels, 80)) == pytest.approx(44.4e6 - 23.5e6, rel=0.01)


def test_pooling_maps_of_16_bit_moves_no_box() -> None:
    features = torch.randn(1, 4, 256, 512).bfloat16()
    boxes, pooler = [torch.tensor([[1101.0, 803.0, 1115.0, 817.0]])], RegionPooler((4,), 7)
    with torch.autocast("cpu", torch.bfloat16):
        pooled = pooler({"0": features}, boxes)
    torch.testing.assert_close(pooled, pooler({"0": features.float()}, boxes).bfloat16())


def test_what_masks_learn_is_what_is_pasted() -> None:
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    discs = torch.stack([(y - 12) ** 2 + (x - 9) ** 2 <= 3**2, (y - 25) ** 2 + (x - 24) ** 2 <= 8**2])
    boxes = torch.tensor([[6.0, 9.0, 13.0, 16.0], [16.0, 17.0, 33.0, 34.0]])
    aims = mask_targets(discs, boxes, torch.tensor([0, 1]), 28)
    assert set(aims.unique().tolist()) == {0.0, 1.0}
    pasted = paste_masks(aims[:, None], boxes, (40, 40))
    overlaps = (pasted & discs).sum((1, 2)) / (pasted | discs).sum((1, 2))
    assert overlaps.min() > 0.97
    assert torch.equal(mask_targets(discs, boxes[[1, 0]], torch.tensor([1, 0]), 28), aims[[1, 0]])


def test_targets_of_masks_are_made_in_parts_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    masks, boxes = torch.rand(6, 24, 32) > 0.5, torch.tensor([[1.0, 2.0, 30.5, 17.25]]).repeat(9, 1)
    indices = torch.tensor([5, 0, 0, 3, 2, 1, 4, 5, 1])
    whole = mask_targets(masks, boxes, indices, 28)
    monkeypatch.setattr("coatseg.models.heads.detection.regions.PIXELS_AT_ONCE", 24 * 32 * 2)
    assert torch.equal(mask_targets(masks, boxes, indices, 28), whole)


@pytest.mark.parametrize(("head", "options"), [(retinanet, DetectorOptions(width=16)), (fcos, FCOSOptions(width=16))])
def test_gradients_of_maps_of_one_pixel_are_numbers_in_bf16(
    head: Callable[..., OneStage], options: DetectorOptions
) -> None:
    backbone = CoaT(SMALL)
    detector = Detector(backbone, head(backbone.levels, 3, options)).train()
    for _ in range(4):  # what was wrong came from memory that nothing had written
        with torch.autocast("cpu", torch.bfloat16):
            losses = detector(torch.randn(2, 3, 64, 64), None, [objects([[8, 8, 40, 40]], (64, 64))] * 2)
        detector.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        assert all(parameter.grad.isfinite().all() for parameter in detector.parameters())


BUILT = {
    "faster_rcnn": FEW,
    "mask_rcnn": {**FEW, "mask_width": 8},
    "cascade_rcnn": FEW,
    "cascade_mask_rcnn": {**FEW, "mask_width": 8},
    "retinanet": {"width": 16},
    "fcos": {"width": 32},
}
BACKBONES = [(name, {}) for name in VARIANTS] + [("timm", {"model": "resnet18"}), ("timm", {"model": "convnext_atto"})]


@pytest.mark.sweep
@pytest.mark.parametrize("head", BUILT)
@pytest.mark.parametrize(("name", "options"), BACKBONES, ids=str)
def test_every_detector_bears_hard_batches_on_every_backbone(name: str, options: dict[str, str], head: str) -> None:
    torch.manual_seed(0)
    backbone = create_backbone(name, **options)
    made = make("head", head, BUILT[head], "head", levels=backbone.levels, classes=3)
    detector = Detector(backbone, made).train()
    images = torch.randn(len(HARD), 3, SIDE, SIDE)
    with torch.autocast("cpu", torch.bfloat16):
        losses = detector(images, None, list(HARD.values()))
    assert all(loss.isfinite() for loss in losses.values()), losses
    torch.stack(list(losses.values())).sum().backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in detector.parameters())
    with torch.no_grad():
        assert len(detector.eval()(images, None)) == len(HARD)
