"""`coatseg info`: sizes that are known from elsewhere, and datasets that are and are not there."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from coatseg import commands
from coatseg.commands import info
from coatseg.commands.terminal.composition import choices
from coatseg.models.backbones.coat import create_backbone
from coatseg.models.backbones.variants import VARIANTS
from coatseg.models.heads.detection.rcnn import RCNN, MaskRCNN, faster_rcnn, mask_rcnn
from coatseg.models.heads.semantic.fcn import fcn
from coatseg.models.macs import backbone_macs, giga_macs, head_macs
from coatseg.structures import Level
from tests.data.generate import write_camvid

Typed = Callable[..., str]

PUBLISHED = {
    "coat_tiny": 4.35, "coat_mini": 6.82, "coat_small": 12.61, "coat_lite_tiny": 1.60, "coat_lite_mini": 2.00,
    "coat_lite_small": 3.96, "coat_lite_medium": 9.81, "coat_lite_medium_384": 9.81,
}  # fmt: skip
"""GMACs at 224x224 as timm states them, which count activations too: less than 1.5% more."""


@pytest.mark.parametrize("name", ["coat_tiny", "coat_lite_small"])
def test_backbones_compute_what_is_published(name: str) -> None:
    with torch.device("meta"):
        counted = backbone_macs(create_backbone(name), (224, 224))
    assert 0.985 * PUBLISHED[name] < counted < PUBLISHED[name]


def test_every_variant_has_a_row() -> None:
    assert set(PUBLISHED) == set(VARIANTS)


def test_a_convolution_is_counted_by_hand() -> None:
    layer = nn.Conv2d(3, 8, 3, padding=1, device="meta")
    counted = giga_macs(lambda: layer(torch.zeros(1, 3, 10, 20, device="meta")))
    assert counted * 1e9 == pytest.approx(3 * 8 * 9 * 10 * 20)


LEVELS = tuple(Level(stride, 8) for stride in (4, 8, 16, 32))


def test_a_head_is_counted_by_hand() -> None:
    with torch.device("meta"):
        head = fcn(LEVELS, 5, width=32)
    convolutions = [module for module in head.modules() if isinstance(module, nn.Conv2d)]
    positions = (64 // 16) ** 2
    expected = sum(one.weight.numel() * positions for one in convolutions)
    # A size that is no multiple of 32 is padded to one.
    for size in ((64, 64), (60, 33)):
        macs = head_macs(head, LEVELS, size)
        assert macs is not None
        assert macs * 1e9 == pytest.approx(expected)


def test_a_mask_head_is_counted_for_a_hundred_detections() -> None:
    with torch.device("meta"):
        boxes = faster_rcnn(LEVELS, 3, RCNN(width=16))
        masks = mask_rcnn(LEVELS, 3, MaskRCNN(width=16, mask_width=16))
    counts = [head_macs(head, LEVELS, (64, 64)) for head in (boxes, masks)]
    assert counts[0] is not None
    assert counts[1] is not None
    # Four 3x3 convolutions at 14x14; one that doubles the side, by 2x2 without overlap; 1x1 to 4 classes at 28x28.
    each = 4 * 16 * 16 * 9 * 14**2 + 16 * 16 * 28**2 + 16 * 4 * 28**2
    assert (counts[1] - counts[0]) * 1e9 == pytest.approx(100 * each, rel=0.01)


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Type `coatseg info ...` in an empty folder, and give what is printed."""

    def run(*arguments: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["coatseg", "info", *arguments])
        monkeypatch.setenv("COLUMNS", "160")
        commands.main()
        return capsys.readouterr().out

    return run


def test_datasets_that_are_there_are_told_from_others(tmp_path: Path, typed: Typed) -> None:
    write_camvid(tmp_path / "data" / "camvid")
    (tmp_path / "data" / "folder" / "images").mkdir(parents=True)
    rows = {row[0]: row for row in _datasets(tmp_path, typed)}
    assert set(rows) == set(choices("data"))
    assert rows["camvid"][1:] == ("11", "semantic", "data/camvid", "3 val samples")
    assert rows["ade20k"][1:] == ("150", "semantic", "data/ade20k", "no")
    assert rows["folder"][4].startswith("not as it should be: There is no classes file")
    assert rows["scenes"][4] == "made when asked for"
    assert rows["coco_json"][1:] == ("by its json", "boxes, instances, or semantic", "data/coco_json", "no")


def _datasets(tmp_path: Path, typed: Typed) -> list[tuple[str, ...]]:
    assert "camvid" in typed("datasets")  # in the folder that it is typed in
    return list(info.datasets())


def test_heads_of_every_file_have_numbers(monkeypatch: pytest.MonkeyPatch, typed: Typed) -> None:
    monkeypatch.setattr(info, "BACKBONE", "coat_lite_tiny")
    monkeypatch.setattr(info, "HEAD_SIZE", (64, 64))
    info._macs_below.cache_clear()
    rows = list(info.heads())
    info._macs_below.cache_clear()
    assert [row[0] for row in rows] == choices("head")
    classes = {"logits": "19", "boxes": "80", "masks": "80", "segments": "133"}
    assert all(row[2] == classes[row[1].partition(",")[0]] for row in rows)
    uncounted = {row[0] for row in rows if row[4:] == ("-", "-")}
    assert uncounted == {row[0] for row in rows if "detr" in row[0] or "mask2former" in row[0]}
    for row in rows:
        assert float(row[3]) > 0
        if row[0] not in uncounted:
            own, whole = map(float, row[4:])
            assert whole > own > 0 or own == 0.0


def test_heads_of_an_extra_that_is_not_installed_say_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coatseg.system.extras.find_spec", lambda name: None)
    monkeypatch.setattr(info, "choices", lambda group: ["fcn", "mask2former"])
    monkeypatch.setattr(info, "BACKBONE", "coat_lite_tiny")
    monkeypatch.setattr(info, "HEAD_SIZE", (64, 64))
    info._macs_below.cache_clear()
    rows = {row[0]: row for row in info.heads()}
    info._macs_below.cache_clear()
    assert float(rows["fcn"][3]) > 0
    assert rows["mask2former"][3:] == ('pip install "coatseg[query]"', "-", "-")


def test_an_unknown_word_leaves_with_2(typed: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        typed("backbone")
    assert exit_.value.code == 2
    assert "Did you mean backbones?" in capsys.readouterr().err
