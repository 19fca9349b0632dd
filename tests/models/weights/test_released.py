"""Detectors of other frameworks load whole, and our heads then compute what those frameworks define.

What the frameworks compute is written here from their definitions with plain functions of torch, on their own tensors.
"""

import hashlib
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from coatseg.errors import ConfigError, WeightsError
from coatseg.models.backbones.coat import CoaT, create_backbone
from coatseg.models.detector import Detector
from coatseg.models.heads.detection.base import DetectionHead
from coatseg.models.heads.detection.cascade import CascadeMaskRCNN, MaskCascade, cascade_mask_rcnn
from coatseg.models.heads.detection.rcnn import RCNN, MaskRCNN, faster_rcnn, mask_rcnn
from coatseg.models.weights import catalogue
from coatseg.models.weights.loading import start_from
from coatseg.structures import Level
from coatseg.system.download import RemoteFile
from tests.contracts.detector import SMALL
from tests.models.weights.frameworks import (
    detectron2_mask_rcnn,
    mmdet_cascade,
    mmdet_mask_rcnn,
    tensors_of,
    write_mmdet,
)

State = dict[str, Tensor]

CHANNELS = SMALL.channels
LEVELS = tuple(Level(stride, channels) for stride, channels in zip((4, 8, 16, 32), CHANNELS, strict=True))
CLASSES, WIDTH = 5, 16
RELEASED_CASCADE = {"box_head": "conv", "box_norm": "batch", "box_loss": "giou"}
BOX, MASK = "roi_head.bbox_head", "roi_head.mask_head"


def detector(head: DetectionHead) -> Detector:
    return Detector(CoaT(SMALL), head).eval()


def mask_detector(classes: int = CLASSES) -> Detector:
    return detector(mask_rcnn(LEVELS, classes, MaskRCNN(width=WIDTH, mask_width=WIDTH)))


def cascade_detector(classes: int = CLASSES) -> Detector:
    options = CascadeMaskRCNN(width=WIDTH, mask_width=WIDTH, **RELEASED_CASCADE)
    return detector(cascade_mask_rcnn(LEVELS, classes, options))


@pytest.fixture(scope="module")
def backbone() -> State:
    torch.manual_seed(1)
    return {key: torch.randn_like(value) for key, value in CoaT(SMALL).state_dict().items()}


@pytest.fixture(scope="module")
def mask_file(backbone: State) -> State:
    return tensors_of(mmdet_mask_rcnn(CHANNELS, CLASSES, WIDTH), backbone)


@pytest.fixture(scope="module")
def cascade_file(backbone: State) -> State:
    return tensors_of(mmdet_cascade(CHANNELS, CLASSES, WIDTH), backbone)


def test_mmdetections_mask_rcnn_loads_whole(mask_file: State, backbone: State, tmp_path: Path) -> None:
    model = mask_detector()
    loaded = start_from(model, write_mmdet(tmp_path / "m.pth", mask_file), whole=True)
    assert (loaded.left_over, loaded.kept, loaded.count) == ((), (), len(model.state_dict()))
    assert all(torch.equal(model.backbone.state_dict()[key], value) for key, value in backbone.items())
    state = model.head.regions.state_dict()
    for part in ("weight", "bias"):
        scores, boxes = state[f"box_predictor.cls_score.{part}"], state[f"box_predictor.bbox_pred.{part}"]
        masks = state[f"mask_predictor.mask_fcn_logits.{part}"]
        assert torch.equal(torch.cat([scores[1:], scores[:1]]), mask_file[f"{BOX}.fc_cls.{part}"])
        assert torch.equal(boxes[4:], mask_file[f"{BOX}.fc_reg.{part}"])
        assert torch.equal(masks[1:], mask_file[f"{MASK}.conv_logits.{part}"])
        assert not boxes[:4].any()
        assert not masks[:1].any()


def test_mmdetections_cascade_loads_whole(cascade_file: State, tmp_path: Path) -> None:
    model = cascade_detector()
    loaded = start_from(model, write_mmdet(tmp_path / "c.pth", cascade_file), whole=True)
    assert (loaded.left_over, loaded.kept, loaded.count) == ((), (), len(model.state_dict()))
    assert model.head.steps[2].box_head[1][1].num_batches_tracked == 7


def test_detectron2s_mask_rcnn_loads_whole_and_is_the_same_detector(
    mask_file: State, backbone: State, tmp_path: Path
) -> None:
    names = detectron2_mask_rcnn(CHANNELS, CLASSES, WIDTH)
    tensors = tensors_of(names, backbone, "backbone.bottom_up.backbone.") | {"pixel_mean": torch.zeros(3, 1, 1)}
    torch.save({"model": tensors, "iteration": 89999}, tmp_path / "d.pth")
    model = mask_detector()
    loaded = start_from(model, tmp_path / "d.pth", whole=True)
    assert (loaded.left_over, loaded.count) == (("pixel_mean",), len(model.state_dict()))
    predictor = model.head.regions.box_predictor
    assert torch.equal(predictor.cls_score.bias[0], tensors["roi_heads.box_predictor.cls_score.bias"][-1])
    assert torch.equal(model.head.fpn.network.inner_blocks[3][0].weight, tensors["backbone.fpn_lateral5.weight"])


@pytest.mark.parametrize("kind", ["mask_rcnn", "cascade"])
def test_the_released_sizes_fit_the_recipes_heads(kind: str, tmp_path: Path) -> None:
    model = create_backbone("coat_lite_mini")
    channels = tuple(level.channels for level in model.levels)
    if kind == "mask_rcnn":
        shapes, head = mmdet_mask_rcnn(channels), mask_rcnn(model.levels, 80)
    else:
        shapes = mmdet_cascade(channels)
        head = cascade_mask_rcnn(model.levels, 80, CascadeMaskRCNN(**RELEASED_CASCADE))
    path = write_mmdet(tmp_path / "w.pth", tensors_of(shapes, model.state_dict()))
    loaded = start_from(Detector(model, head), path, whole=True)
    assert (loaded.left_over, loaded.kept) == ((), ())


def convolved(x: Tensor, tensors: State, name: str, padding: int = 1) -> Tensor:
    return functional.conv2d(x, tensors[f"{name}.weight"], tensors.get(f"{name}.bias"), padding=padding)


def multiplied(x: Tensor, tensors: State, name: str) -> Tensor:
    return functional.linear(x, tensors[f"{name}.weight"], tensors[f"{name}.bias"])


def pyramid_by_hand(maps: list[Tensor], tensors: State) -> list[Tensor]:
    sides = [convolved(x, tensors, f"neck.lateral_convs.{level}.conv", 0) for level, x in enumerate(maps)]
    for level in range(len(sides) - 1, 0, -1):
        sides[level - 1] = sides[level - 1] + functional.interpolate(sides[level], sides[level - 1].shape[-2:])
    outputs = [convolved(x, tensors, f"neck.fpn_convs.{level}.conv") for level, x in enumerate(sides)]
    return [*outputs, outputs[-1][..., ::2, ::2]]


def masks_by_hand(x: Tensor, tensors: State, name: str) -> Tensor:
    for number in range(4):
        x = convolved(x, tensors, f"{name}.convs.{number}.conv").relu()
    up = functional.conv_transpose2d(x, tensors[f"{name}.upsample.weight"], tensors[f"{name}.upsample.bias"], stride=2)
    return convolved(up.relu(), tensors, f"{name}.conv_logits", 0)


def maps_of() -> list[Tensor]:
    return [
        torch.randn(1, channels, 64 // stride, 96 // stride)
        for stride, channels in zip((4, 8, 16, 32), CHANNELS, strict=True)
    ]


def test_the_pyramid_and_the_proposals_are_mmdetections(mask_file: State, tmp_path: Path) -> None:
    model, maps = mask_detector(), maps_of()
    start_from(model, write_mmdet(tmp_path / "m.pth", mask_file))
    ours, theirs = list(model.head.fpn(maps).values()), pyramid_by_hand(maps, mask_file)
    torch.testing.assert_close(ours, theirs)
    objectness, deltas = model.head.proposals.head(ours)
    hidden = [convolved(x, mask_file, "rpn_head.rpn_conv").relu() for x in theirs]
    torch.testing.assert_close(objectness, [convolved(x, mask_file, "rpn_head.rpn_cls", 0) for x in hidden])
    torch.testing.assert_close(deltas, [convolved(x, mask_file, "rpn_head.rpn_reg", 0) for x in hidden])


def test_the_heads_of_mask_rcnn_are_mmdetections_with_the_background_first(mask_file: State, tmp_path: Path) -> None:
    model, regions = mask_detector(), torch.randn(6, WIDTH, 7, 7)
    start_from(model, write_mmdet(tmp_path / "m.pth", mask_file))
    heads = model.head.regions
    logits, deltas = heads.box_predictor(heads.box_head(regions))
    hidden = multiplied(regions.flatten(1), mask_file, f"{BOX}.shared_fcs.0").relu()
    hidden = multiplied(hidden, mask_file, f"{BOX}.shared_fcs.1").relu()
    theirs = multiplied(hidden, mask_file, f"{BOX}.fc_cls")
    torch.testing.assert_close(logits[:, 1:], theirs[:, :-1])
    torch.testing.assert_close(logits[:, 0], theirs[:, -1])
    torch.testing.assert_close(deltas[:, 4:], multiplied(hidden, mask_file, f"{BOX}.fc_reg"))
    wide = torch.randn(2, WIDTH, 14, 14)
    masks = heads.mask_predictor(heads.mask_head(wide))
    torch.testing.assert_close(masks[:, 1:], masks_by_hand(wide, mask_file, MASK))


def test_the_heads_of_the_cascade_are_mmdetections_with_the_background_first(
    cascade_file: State, tmp_path: Path
) -> None:
    model, regions, wide = cascade_detector(), torch.randn(6, WIDTH, 7, 7), torch.randn(2, WIDTH, 14, 14)
    start_from(model, write_mmdet(tmp_path / "c.pth", cascade_file))
    assert isinstance(model.head, MaskCascade)
    for stage, step in enumerate(model.head.boxes_by):
        name, x = f"{BOX}.{stage}", regions
        for number in range(4):
            x = convolved(x, cascade_file, f"{name}.shared_convs.{number}.conv")
            norm = f"{name}.shared_convs.{number}.bn"
            mean, variance, weight, bias = (
                cascade_file[f"{norm}.{part}"][:, None, None]
                for part in ("running_mean", "running_var", "weight", "bias")
            )
            x = ((x - mean) / (variance + 1e-5).sqrt() * weight + bias).relu()
        hidden = multiplied(x.flatten(1), cascade_file, f"{name}.shared_fcs.0").relu()
        logits, deltas = step.box_predictor(step.box_head(regions))
        theirs = multiplied(hidden, cascade_file, f"{name}.fc_cls")
        torch.testing.assert_close(logits, torch.cat([theirs[:, -1:], theirs[:, :-1]], 1))
        torch.testing.assert_close(deltas[:, 4:], multiplied(hidden, cascade_file, f"{name}.fc_reg"))
        masks = model.head.mask_steps[stage](wide)
        torch.testing.assert_close(masks[:, 1:], masks_by_hand(wide, cascade_file, f"{MASK}.{stage}"))


def test_a_detector_says_what_a_loaded_one_is_made_to_say(mask_file: State, tmp_path: Path) -> None:
    # A classifier that sees class 3, of 0 to 4, wherever it looks, and nothing else.
    tensors = {key: torch.zeros_like(value) if BOX in key else value for key, value in mask_file.items()}
    tensors[f"{BOX}.fc_cls.bias"] = torch.tensor([0.0, 0, 0, 8, 0, 0])
    model = mask_detector()
    start_from(model, write_mmdet(tmp_path / "m.pth", tensors))
    with torch.no_grad():
        (found,) = model(torch.randn(1, 3, 64, 96))
    assert set(found.labels.tolist()) == {3}
    tensors[f"{BOX}.fc_cls.bias"] = torch.tensor([0.0, 0, 0, 0, 0, 8])  # background
    start_from(model, write_mmdet(tmp_path / "m.pth", tensors))
    with torch.no_grad():
        (found,) = model(torch.randn(1, 3, 64, 96))
    assert len(found.labels) == 0


def test_what_has_no_place_is_listed(mask_file: State, tmp_path: Path) -> None:
    path = write_mmdet(tmp_path / "m.pth", {**mask_file, "roi_head.semantic_head.conv.weight": torch.zeros(1)})
    loaded = start_from(mask_detector(), path)
    assert loaded.left_over == ("roi_head.semantic_head.conv.weight",)
    assert loaded.lines()[1:] == [
        "1 tensors of the file have no place in this model: roi_head.semantic_head.conv.weight"
    ]  # fmt: skip


def test_a_detector_without_masks_leaves_the_mask_head_over(mask_file: State, tmp_path: Path) -> None:
    model = detector(faster_rcnn(LEVELS, CLASSES, RCNN(width=WIDTH)))
    loaded = start_from(model, write_mmdet(tmp_path / "m.pth", mask_file), whole=True)
    assert len(loaded.left_over) == 12
    assert all(".mask_" in name for name in loaded.left_over)


@pytest.mark.parametrize("kind", ["mask_rcnn", "cascade"])
def test_other_classes_leave_the_predictors_at_their_start(
    kind: str, mask_file: State, cascade_file: State, tmp_path: Path
) -> None:
    tensors, model = (mask_file, mask_detector(2)) if kind == "mask_rcnn" else (cascade_file, cascade_detector(2))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    path = write_mmdet(tmp_path / "w.pth", tensors)
    loaded = start_from(model, path)
    predictors = [key for key in before if "box_predictor" in key or "mask_fcn_logits" in key]
    assert list(loaded.kept) == predictors
    assert loaded.count == len(before) - len(predictors)
    after = model.state_dict()
    assert all(torch.equal(before[key], after[key]) == (key in predictors) for key in before if before[key].ndim > 1)
    assert "for another number of classes and start anew: head." in loaded.lines()[1]
    with pytest.raises(WeightsError, match=r"of another shape: head\.(.|\n)*the classes that it was made with"):
        start_from(model, path, whole=True)


def test_what_is_missing_or_of_another_shape_is_an_error_and_changes_nothing(mask_file: State, tmp_path: Path) -> None:
    model = mask_detector()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    less = {key: value for key, value in mask_file.items() if key != "rpn_head.rpn_cls.bias"}
    with pytest.raises(WeightsError, match=r"1 missing: head\.proposals\.head\.cls_logits\.bias\."):
        start_from(model, write_mmdet(tmp_path / "m.pth", less))
    with pytest.raises(WeightsError, match=r"of another shape: backbone\."):
        start_from(Detector(create_backbone("coat_lite_tiny"), model.head), write_mmdet(tmp_path / "m.pth", mask_file))
    with pytest.raises(WeightsError, match=r"missing: head\.steps"):
        start_from(cascade_detector(), tmp_path / "m.pth")
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_weights_of_a_backbone_alone_are_sent_to_their_key(backbone: State, tmp_path: Path) -> None:
    torch.save({"model": backbone}, tmp_path / "b.pth")
    with pytest.raises(WeightsError, match=r"holds no backbone and head(.|\n)*backbone\.pretrained=PATH"):
        start_from(mask_detector(), tmp_path / "b.pth")


def test_states_of_our_own_load_with_their_prefix_or_without(mask_file: State, tmp_path: Path) -> None:
    model = mask_detector()
    start_from(model, write_mmdet(tmp_path / "m.pth", mask_file))
    for prefix in ("", "model."):
        torch.save(OrderedDict((prefix + key, value) for key, value in model.state_dict().items()), tmp_path / "o.pth")
        other = mask_detector()
        assert start_from(other, tmp_path / "o.pth", whole=True).left_over == ()
        assert all(torch.equal(model.state_dict()[key], value) for key, value in other.state_dict().items())


def test_grey_images_start_from_the_sum_of_the_colours(mask_file: State, tmp_path: Path) -> None:
    head = mask_rcnn(LEVELS, CLASSES, MaskRCNN(width=WIDTH, mask_width=WIDTH))
    model = Detector(CoaT(SMALL, in_channels=1), head)
    start_from(model, write_mmdet(tmp_path / "m.pth", mask_file))
    theirs = mask_file["backbone.patch_embed1.proj.weight"]
    torch.testing.assert_close(model.backbone.patch_embed1.proj.weight.detach(), theirs.sum(1, keepdim=True))


def test_the_catalogue_names_every_released_detector() -> None:
    files = {name: source for name, (source,) in catalogue.DETECTORS.items()}
    assert len(files) == 20 == len({source.name for source in files.values()})
    assert files["cascade_mask_rcnn_coat_small_3x"].url == (
        "https://vcl.ucsd.edu/coat/pretrained/tasks/mmdet/"
        "cascade_mask_rcnn_coat_small_mstrain_480-800_giou_4conv1f_adamw_3x_coco_4f7a069e.pth"
    )
    assert files["detectron2_mask_rcnn_coat_mini_1x"].url.endswith(
        "/tasks/detectron2/mask_rcnn_coat_mini_FPN_1x_9ddaa460.pth"
    )
    assert all(source.checksum == f"sha256:{source.name[-12:-4]}" for source in files.values())


def test_a_name_of_the_catalogue_is_fetched_once_and_another_name_is_refused(
    mask_file: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_mmdet(tmp_path / "m.pth", mask_file)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    monkeypatch.setenv("COATSEG_CACHE", str(tmp_path / "cache"))
    source = RemoteFile(path.as_uri(), "m.pth", checksum=f"sha256:{digest}")
    monkeypatch.setitem(catalogue.DETECTORS, "mask_rcnn_coat_small_3x", (source,))  # type: ignore[arg-type]
    for _ in range(2):
        assert start_from(mask_detector(), "mask_rcnn_coat_small_3x").source == "mask_rcnn_coat_small_3x"
        path.unlink(missing_ok=True)
    with pytest.raises(ConfigError, match=r"Did you mean mask_rcnn_coat_small_3x\?"):
        start_from(mask_detector(), "mask_rcnn_coat_smal_3x")
    with pytest.raises(WeightsError, match=r"There is no weights file .*gone\.pth"):
        start_from(mask_detector(), tmp_path / "gone.pth")
    missing = RemoteFile((tmp_path / "no.pth").as_uri(), "no.pth")
    monkeypatch.setitem(catalogue.DETECTORS, "mask_rcnn_coat_mini_1x", (missing,))  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match=r"set weights=PATH to where it is"):
        start_from(mask_detector(), "mask_rcnn_coat_mini_1x")
