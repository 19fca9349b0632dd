"""`coatseg evaluate` on images without truth: what is found is written, and nothing is scored."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO

from coatseg.commands.evaluate import evaluate_checkpoint, read_arguments
from coatseg.config.build import build
from coatseg.config.read import read
from coatseg.data.datasets.ade20k import ADE20K
from coatseg.data.datasets.cityscapes import Cityscapes
from coatseg.data.datasets.coco_json import CocoJson
from coatseg.errors import CoatsegError, ConfigError, DatasetError, SplitNotFoundError
from tests.data.objects import coco_content, write_coco_json
from tests.data.official import write_ade20k, write_cityscapes
from tests.results.checkpoints import write_checkpoint

OBJECTS = (
    "task=inst", "head=small_mask_rcnn", "backbone=coat_lite_tiny", "data=coco_json", "data.workers=0",
    "data.batch_size=2",
)  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A dataset, and a json of its images and categories alone."""
    made = write_coco_json(tmp_path / "data")
    content = coco_content(6)
    del content["annotations"]
    (made / "image_info_test.json").write_text(json.dumps(content))
    return made


def test_a_json_without_annotations_is_not_scored_and_its_objects_are_written(
    root: Path, composed: Callable[..., dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_checkpoint(tmp_path / "a.ckpt", composed(*OBJECTS, f"data.root={root}"))
    typed = [f"checkpoint={tmp_path}/a.ckpt", "split=test", "data.annotations={test: image_info_test.json}"]
    typed += ["trainer.accelerator=cpu", "keep_memory=false"]
    with pytest.raises(ConfigError, match=r"data test has no annotations: there is no truth to score.*\nGive output"):
        evaluate_checkpoint(read_arguments(typed))
    evaluate_checkpoint(read_arguments([*typed, f"output={tmp_path}/out"]))
    said = capsys.readouterr().out
    assert "there is no truth to score; the objects found:" in said
    assert "AP" not in said
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"detections.json", "detections_boxes.json"}
    truth = COCO(root / "annotations.json")
    found = truth.loadRes(str(tmp_path / "out" / "detections.json"))
    assert len(found.getAnnIds()) > 0
    assert all("bbox" in row for row in json.loads((tmp_path / "out" / "detections_boxes.json").read_text()))


def test_a_json_without_annotations_is_refused_by_a_model_of_no_objects(
    root: Path, composed: Callable[..., dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ("task=seg", "head.width=32", "head.pyramid_width=16", "backbone=coat_lite_tiny", "data.workers=0")
    write_checkpoint(tmp_path / "a.ckpt", composed("data=coco_json", "data.semantic=true", f"data.root={root}", *model))
    typed = [f"checkpoint={tmp_path}/a.ckpt", "split=test", "data.annotations={test: image_info_test.json}"]
    with pytest.raises(ConfigError, match=r"this model finds no objects\.\nPredict the images with coatseg predict"):
        evaluate_checkpoint(read_arguments([*typed, f"output={tmp_path}/out", "keep_memory=false"]))
    assert "never seen" not in capsys.readouterr().out


def test_a_json_without_annotations_is_neither_trained_nor_validated_on(
    root: Path, composed: Callable[..., dict[str, Any]]
) -> None:
    for split in ("train", "val"):
        annotations = {"train": "annotations.json", "val": "annotations.json", split: "image_info_test.json"}
        options = [f"data.annotations={{train: {annotations['train']}, val: {annotations['val']}}}"]
        with pytest.raises(DatasetError, match=rf"The {split} split of data=data has images and no annotations"):
            build(read(composed(*OBJECTS, f"data.root={root}", *options)))


def test_a_json_that_lacks_more_than_annotations_is_no_file_of_objects(root: Path) -> None:
    (root / "image_info_test.json").write_text('{"images": []}')
    with pytest.raises(DatasetError, match="is no file of objects"):
        CocoJson(root, "test", annotations={"test": "image_info_test.json"})


@pytest.mark.parametrize(
    ("read_split", "said"),
    [
        (lambda root: ADE20K(write_ade20k(root), "test"), "coatseg predict ... for=ade20k"),
        (lambda root: Cityscapes(write_cityscapes(root), "test"), "coatseg predict ... for=cityscapes"),
    ],
    ids=["ade20k", "cityscapes"],
)
def test_a_test_split_whose_labels_are_a_servers_names_the_way_to_it(
    tmp_path: Path, read_split: Callable[[Path], Any], said: str
) -> None:
    with pytest.raises(CoatsegError) as raised:
        read_split(tmp_path)
    assert said in raised.value.mend


def test_cityscapes_test_images_without_masks_name_the_way_too(tmp_path: Path) -> None:
    (tmp_path / "leftImg8bit" / "test" / "berlin").mkdir(parents=True)
    with pytest.raises(SplitNotFoundError, match=r"There are no masks of test in .*(?s:.*)for=cityscapes"):
        Cityscapes(tmp_path, "test")
