"""Files of Deformable DETR's authors load whole, and our head is then their definition (detr_definition.py)."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from coatseg.errors import WeightsError
from coatseg.models.backbones.coat import CoaT
from coatseg.models.detector import Detector
from coatseg.models.heads.query.canvases import Canvases
from coatseg.models.heads.query.deformable_detr import DeformableDETROptions, deformable_detr
from coatseg.models.heads.semantic.base import group_count
from coatseg.models.weights import catalogue
from coatseg.models.weights.files import to_authors
from coatseg.models.weights.loading import start_from
from coatseg.models.weights.official_detr import ROWS, UNUSED
from coatseg.structures import Level
from tests.contracts.detector import SMALL
from tests.models.weights.detr_definition import HEADS, POINTS, detected, shapes_of

WIDTH, HIDDEN, QUERIES, CLASSES = 32, 48, 12, 5
FORMS = {"plain": {}, "refined": {"refine": True}, "two_stage": {"refine": True, "two_stage": True}}
LEVELS = tuple(Level(stride, channels) for stride, channels in zip((4, 8, 16, 32), SMALL.channels, strict=True))


def model(form: str, classes: int = CLASSES) -> Detector:
    options = DeformableDETROptions(
        width=WIDTH,
        heads=HEADS,
        points=POINTS,
        encoder_layers=2,
        decoder_layers=2,
        feedforward=HIDDEN,
        queries=QUERIES,
        **FORMS[form],
    )
    torch.manual_seed(1)
    return Detector(CoaT(SMALL), deformable_detr(LEVELS, classes, options)).eval()


def tensors(form: str, classes: int = CLASSES, prefix: str = "backbone.0.body.") -> dict[str, Tensor]:
    torch.manual_seed(2)
    backbone = to_authors({key: torch.randn_like(value) for key, value in CoaT(SMALL).state_dict().items()})
    named = {f"{prefix}{key}": value for key, value in backbone.items()}
    return named | shapes_of(SMALL.channels[1:], classes, form, WIDTH, HIDDEN, QUERIES)


def written(path: Path, state: dict[str, Tensor]) -> Path:
    torch.save({"model": state, "epoch": 49, "optimizer": {}}, path)
    return path


@pytest.mark.parametrize("prefix", ["backbone.0.body.", "backbone.0."])
@pytest.mark.parametrize("form", FORMS)
def test_a_file_loads_whole_and_gives_what_the_definition_gives(form: str, prefix: str, tmp_path: Path) -> None:
    detector, state = model(form), tensors(form, prefix=prefix)
    loaded = start_from(detector, written(tmp_path / "d.pth", state), whole=True)
    assert (loaded.left_over, loaded.kept, loaded.count) == ((), (), len(detector.state_dict()))
    height, width = 96, 64
    maps = [torch.randn(1, level.channels, height // level.stride, width // level.stride) for level in LEVELS[1:]]
    canvases = Canvases.of((height, width), [(height, width)], (8, 16, 32, 64), 32)
    with torch.no_grad():
        ours = detector.head.transformer(maps, canvases)
        logits, boxes = detected(maps, state, form, QUERIES, group_count(WIDTH))
    torch.testing.assert_close(ours.logits[:, 0], logits, rtol=0, atol=2e-5)
    torch.testing.assert_close(ours.boxes[:, 0], boxes, rtol=0, atol=2e-5)


def test_the_rows_of_cocos_numbers_become_its_classes(tmp_path: Path) -> None:
    detector, state = model("plain", 80), tensors("plain", ROWS)
    start_from(detector, written(tmp_path / "d.pth", state), whole=True)
    used = [number for number in range(ROWS) if number not in UNUSED]
    assert (len(used), used[0], used[11], used[-1]) == (80, 1, 13, 90)  # person, stop sign, toothbrush
    assert torch.equal(detector.head.transformer.class_embed[0].weight, state["class_embed.0.weight"][used])
    two, stages = model("two_stage", 80), tensors("two_stage", ROWS)
    start_from(two, written(tmp_path / "t.pth", stages), whole=True)
    assert torch.equal(two.head.transformer.class_embed[2].bias[0], stages["class_embed.2.bias"][0])


def test_other_classes_start_anew_in_a_fine_tuning_and_are_an_error_otherwise(tmp_path: Path) -> None:
    path = written(tmp_path / "d.pth", tensors("plain"))
    loaded = start_from(model("plain", 2), path)
    assert loaded.kept == ("head.transformer.class_embed.0.weight", "head.transformer.class_embed.0.bias")
    with pytest.raises(WeightsError, match=r"of another shape: head\.(.|\n)*the classes that it was made with"):
        start_from(model("plain", 2), path, whole=True)


def test_another_number_of_queries_is_no_other_number_of_classes(tmp_path: Path) -> None:
    state = tensors("plain")
    state["query_embed.weight"] = torch.cat([state["query_embed.weight"]] * 2)
    with pytest.raises(WeightsError, match=r"of another shape: head\.transformer\.query_position_embeddings"):
        start_from(model("plain", 2), written(tmp_path / "q.pth", state))


def test_layers_of_refined_boxes_do_not_pass_for_those_of_a_plain_head(tmp_path: Path) -> None:
    for whole in (False, True):
        with pytest.raises(WeightsError, match=r"layers that this model lacks(.|\n)*head\.refine"):
            start_from(model("plain"), written(tmp_path / "r.pth", tensors("refined")), whole=whole)


def test_other_options_are_no_other_number_of_classes(tmp_path: Path) -> None:
    state = tensors("plain")
    key = next(key for key in state if key.endswith("sampling_offsets.weight"))
    state[key] = torch.cat([state[key]] * 2)
    with pytest.raises(WeightsError, match=r"of another shape: head\.transformer(.|\n)*sampling_offsets"):
        start_from(model("plain", 2), written(tmp_path / "s.pth", state))


def test_another_form_or_a_copy_that_differs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"missing: head\.transformer\.class_embed\.1"):
        start_from(model("refined"), written(tmp_path / "p.pth", tensors("plain")))
    state = tensors("refined")
    with pytest.raises(WeightsError, match=r"missing: head\.transformer\.(query|reference|enc_output|pos)"):
        start_from(model("two_stage"), written(tmp_path / "r.pth", state))
    state["transformer.decoder.bbox_embed.1.layers.2.bias"] = torch.ones(4)
    with pytest.raises(WeightsError, match=r"transformer\.decoder\.bbox_embed\.1(.|\n)*differ in the file"):
        start_from(model("refined"), written(tmp_path / "b.pth", state))


def test_the_catalogue_names_the_two_released_files() -> None:
    files = {name: source.url for name, (source,) in catalogue.DETECTORS.items() if name.startswith("deformable")}
    base = "https://vcl.ucsd.edu/coat/pretrained/tasks/Deformable-DETR"
    assert files == {
        "deformable_detr_coat_lite_small": f"{base}/coat_lite_small_deformable_detr_1801ee09.pth",
        "deformable_detr_coat_small": f"{base}/coat_small_deformable_detr_8a86ba55.pth",
    }
