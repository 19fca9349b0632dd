"""What other people's tools write of the pictures of tests/data/exports: named rightly, and read as it is meant."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from coatseg.data.recognition import recognise
from tests.conftest import ROOT
from tests.data.exports import EXPORTS, FILLED, PARTS, SHOWN, SQUARE, THIN, WHOLE, Export
from tests.data.recognition.test_recognition import check_export, check_name

pytestmark = pytest.mark.tools

# What tools write is what the trees of tests/data/exports hold, but for what is said here.
TOOLS: dict[str, Export] = {
    "datumaro_coco_instances": EXPORTS["datumaro_coco"],
    "datumaro_coco_panoptic": EXPORTS["datumaro_panoptic"],
    "datumaro_voc_segmentation": replace(
        EXPORTS["cvat_masks"],
        arguments="data=folder data.images=JPEGImages data.masks=SegmentationClass data.classes=labelmap.txt "
        "data.colour_masks=true data.without_annotation=leave_out",
        truth=SHOWN,
    ),
    "datumaro_cityscapes": EXPORTS["datumaro_cityscapes"],
    "datumaro_camvid": EXPORTS["datumaro_camvid"],
    "datumaro_kitti_segmentation": EXPORTS["datumaro_kitti"],
    "datumaro_voc_detection": replace(
        EXPORTS["cvat_boxes"],
        arguments="data=voc_boxes data.classes=null data.one_based=false data.without_annotation=empty task=det",
    ),
    "supervision_coco": EXPORTS["supervision_coco"],
    "supervision_voc": EXPORTS["supervision_boxes"],
    "supervision_yolo": replace(EXPORTS["yolo_seg"], truth=None),
    "label_studio_coco": replace(
        EXPORTS["label_studio_coco"],
        arguments="data=coco_json data.annotations=result.json data.images=images task=inst",
    ),
    "label_studio_voc": replace(
        EXPORTS["cvat_boxes"],
        name="Pascal VOC boxes of Label Studio",
        arguments="data=voc_boxes data.annotations=Annotations data.images=images data.classes=null "
        "data.one_based=false data.without_annotation=empty task=det",
        truth={
            "pair": (SQUARE, THIN),
            "holes": (("cat", 100, (4, 4, 14, 14)), ("dog", 400, (40, 4, 60, 24))),  # a part was drawn, the other not
            "empty": (),
        },
    ),
    "label_studio_yolo": replace(EXPORTS["yolo_seg"], name="YOLO-seg of Label Studio", truth=None),
    "label_studio_brush_to_png": EXPORTS["label_studio_brush"],
    "labelme": EXPORTS["labelme"],
    "cellpose": EXPORTS["cellpose"],
    "ultralytics": replace(EXPORTS["yolo_seg"], truth={"pair": (SQUARE, THIN), "holes": (PARTS, FILLED), "empty": ()}),
}


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which the tools have written, each into one of its own."""
    folder = tmp_path_factory.mktemp("exports")
    command = [os.environ["COATSEG_TOOLS_PYTHON"], "-m", "tests.tools.write_exports", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "YOLO_CONFIG_DIR": str(folder)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return folder


@pytest.mark.parametrize("tool", TOOLS)
def test_what_a_tool_writes_is_named_and_read(written: Path, tool: str) -> None:
    root, (best, *_) = recognise(written / tool)
    check_name(best, root, TOOLS[tool])
    check_export(best, root, TOOLS[tool].truth)


@pytest.mark.parametrize("tool", ["datumaro_voc_segmentation", "datumaro_kitti_segmentation"])
def test_masks_of_objects_are_read_with_the_other_line(written: Path, tool: str) -> None:
    root, (_, objects, *_) = recognise(written / tool)
    check_export(objects, root, {name: things for name, things in WHOLE.items() if things})
