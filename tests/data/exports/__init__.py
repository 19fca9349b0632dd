"""Exports as tools write them, each with what coatseg has to say of it and what is in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.data.exports import coco, masks, polygons

Box = tuple[float, float, float, float]
Objects = Mapping[str, tuple[tuple[str, int, Box], ...]]
"""Of each picture the class, the pixels and the box of every object."""
Pixels = Mapping[str, Mapping[str, int]]
"""Of each picture the pixels of every class but the background."""

SQUARE, THIN = ("cat", 400, (10, 10, 30, 30)), ("dog", 20, (40, 5, 41, 25))
PARTS, RING, FILLED = ("cat", 296, (4, 4, 18, 44)), ("dog", 364, (40, 4, 60, 24)), ("dog", 400, (40, 4, 60, 24))
WHOLE: Objects = {"pair": (SQUARE, THIN), "holes": (PARTS, RING), "empty": ()}
BOXES: Objects = {
    name: tuple((label, int((box[2] - box[0]) * (box[3] - box[1])), box) for label, _, box in objects)
    for name, objects in WHOLE.items()
}
LABELS: Pixels = {"pair": {"cat": 400, "dog": 20}, "holes": {"cat": 296, "dog": 364}, "empty": {}}
SHOWN: Pixels = {name: pixels for name, pixels in LABELS.items() if pixels}


@dataclass(frozen=True)
class Export:
    """An export: how it is written, what it is called, the arguments that train with it, and what is in it.

    What cannot be read as it is has no truth.
    """

    write: Callable[[Path], Path]
    name: str
    arguments: str
    truth: Objects | Pixels | None


EXPORTS: dict[str, Export] = {
    "datumaro_coco": Export(
        coco.write_datumaro_coco,
        "COCO instances of datumaro or CVAT",
        "data=coco_json data.annotations.train=annotations/instances_train.json "
        "data.annotations.val=annotations/instances_val.json data.images.train=images/train data.images.val=images/val "
        "data.crowd=objects task=inst",
        WHOLE,
    ),
    "cvat_masks": Export(
        masks.write_cvat_masks,
        "Segmentation mask of CVAT or datumaro",
        "data=folder data.images=JPEGImages data.masks=SegmentationClass data.classes=labelmap.txt "
        "data.colour_masks=true data.lists=ImageSets/Segmentation/default.txt data.without_annotation=leave_out",
        SHOWN,
    ),
    "cvat_boxes": Export(
        polygons.write_cvat_boxes,
        "Pascal VOC boxes of CVAT or datumaro",
        "data=voc_boxes data.lists=ImageSets/Main/default.txt data.classes=null data.one_based=false "
        "data.without_annotation=empty task=det",
        BOXES,
    ),
    "datumaro_cityscapes": Export(
        masks.write_datumaro_cityscapes,
        "Cityscapes tree of datumaro",
        "data=cityscapes",
        None,
    ),
    "datumaro_camvid": Export(
        masks.write_datumaro_camvid,
        "CamVid tree of datumaro",
        "data=folder data.classes=label_colors.txt data.colour_masks=true "
        "data.split_by=lists data.without_annotation=leave_out",
        SHOWN,
    ),
    "datumaro_panoptic": Export(
        coco.write_datumaro_panoptic,
        "COCO panoptic of datumaro or CVAT",
        "data=panoptic_json data.images.train=images/train data.images.val=images/val "
        "data.annotations.train=annotations/panoptic_train.json data.annotations.val=annotations/panoptic_val.json "
        "data.masks.train=annotations/panoptic_train data.masks.val=annotations/panoptic_val",
        SHOWN,
    ),
    "datumaro_kitti": Export(
        masks.write_datumaro_kitti,
        "KITTI",
        "data=folder data.images=image_2 data.masks=semantic data.classes=label_colors.txt "
        "data.without_annotation=leave_out",
        SHOWN,
    ),
    "label_studio_coco": Export(
        coco.write_label_studio_coco,
        "Label Studio COCO",
        "data=coco_json data.annotations=result.json data.images=. task=inst",
        {
            "pair": (SQUARE, THIN),
            "holes": (("cat", 100, (4, 4, 14, 14)), ("cat", 196, (4, 30, 18, 44)), FILLED),
            "empty": (),
        },
    ),
    "label_studio_brush": Export(
        masks.write_label_studio_brush,
        "Label Studio brush labels as PNG",
        "data=folder data.layers=true task=multilabel",
        None,
    ),
    "roboflow_boxes": Export(
        polygons.write_roboflow_boxes,
        "Pascal VOC boxes of Roboflow",
        "data=voc_boxes data.annotations=. data.images=. data.classes=null data.one_based=false task=det",
        BOXES,
    ),
    "supervision_boxes": Export(
        polygons.write_supervision_boxes,
        "Pascal VOC boxes of supervision",
        "data=voc_boxes data.annotations=annotations data.images=images data.classes=null data.one_based=true "
        "task=det",
        {**BOXES, "pair": (SQUARE,)},  # whose corners share an x: one pixel wide here, and in VOC's own files an error
    ),
    "supervision_coco": Export(
        coco.write_supervision_coco,
        "COCO of supervision",
        "data=coco_json data.annotations=annotations.json data.images=images data.crowd=objects "
        "data.without_mask=leave_out task=inst",
        {"pair": (("cat", 361, (10, 10, 29, 29)),), "holes": (PARTS, RING), "empty": ()},
    ),
    "yolo": Export(polygons.write_yolo, "YOLO", "data=yolo task=det", BOXES),
    "yolo_seg": Export(
        polygons.write_yolo_seg,
        "YOLO-seg",
        "data=yolo task=inst",
        {"pair": (SQUARE, THIN), "holes": (PARTS, RING), "empty": ()},
    ),
    "roboflow_coco": Export(
        coco.write_roboflow_coco,
        "Roboflow COCO",
        "data=coco_json data.annotations.train=train/_annotations.coco.json "
        "data.annotations.val=valid/_annotations.coco.json data.images.train=train data.images.val=valid "
        "data.without_mask=leave_out data.leave_out=[animals] task=inst",
        {"pair": (SQUARE,), "holes": (PARTS, FILLED), "empty": ()},
    ),
    "roboflow_masks": Export(
        masks.write_roboflow_masks,
        "Roboflow semantic masks",
        "data=folder data.images=. data.masks=. data.mask_ending=_mask data.classes=train/_classes.csv",
        LABELS,
    ),
    "labelme": Export(
        polygons.write_labelme, "LabelMe", "data=labelme task=inst", WHOLE
    ),
    "labelme2coco": Export(
        coco.write_labelme2coco,
        "COCO of labelme2coco",
        "data=coco_json data.annotations=annotations.json data.images=. data.leave_out=[_background_] task=inst",
        {"pair": (SQUARE, THIN), "holes": (PARTS, FILLED), "empty": ()},
    ),
    "cellpose": Export(
        masks.write_cellpose,
        "cellpose masks",
        "data=instance_masks data.images=. data.masks=. data.mask_ending=_cp_masks "
        "data.without_annotation=leave_out task=inst",
        {
            name: tuple(("object", area, box) for _, area, box in objects) for name, objects in WHOLE.items() if objects
        },
    ),
    "qupath": Export(
        polygons.write_qupath,
        "QuPath GeoJSON",
        "data=geojson data.images=images data.annotations=annotations task=inst",
        WHOLE,
    ),
    "kaggle": Export(
        polygons.write_kaggle,
        "run lengths of a Kaggle contest",
        "data=kaggle_rle data.annotations=train.csv data.images=train task=inst",
        {
            name: tuple(("object", area, box) for _, area, box in objects) for name, objects in WHOLE.items()
        },
    ),
}  # fmt: skip
