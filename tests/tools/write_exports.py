"""Write the pictures of tests/data/exports with other people's tools; run by a python that has them.

    python -m tests.tools.write_exports FOLDER

Each tool writes into folders of its own below FOLDER. A tool that fails stops the script: nothing is half written.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
from PIL import Image

from tests.data.exports.coco import content, flat
from tests.data.exports.polygons import labelme_shapes
from tests.data.exports.scene import CLASSES, COLOURS, PICTURES, SIZE, SPLITS, Thing, ring_of, write_image

HEIGHT, WIDTH = SIZE


def write_datumaro(folder: Path, pictures: Path) -> None:
    """datumaro: masks as objects, masks with colours as a project of CVAT has them, and boxes."""
    from datumaro.components.annotation import Bbox, LabelCategories, Mask, MaskCategories

    def masks(thing: Thing, number: int) -> Any:
        return Mask(thing.mask, label=thing.label, id=number, group=number)

    def coloured(thing: Thing, number: int) -> Any:
        return Mask(thing.mask, label=thing.label + 1, id=number, group=number)

    def boxes(thing: Thing, number: int) -> Any:
        x1, y1, x2, y2 = thing.box
        return Bbox(x1, y1, x2 - x1, y2 - y1, label=thing.label, id=number)

    colours = MaskCategories(dict(enumerate(COLOURS.values())))
    categories = {1: LabelCategories.from_iterable(COLOURS), 2: colours}
    for annotate, classes, names in (
        (masks, list(CLASSES), ("coco_instances", "coco_panoptic")),
        (coloured, categories, ("voc_segmentation", "cityscapes", "camvid", "kitti_segmentation")),
        (boxes, list(CLASSES), ("voc_detection",)),
    ):
        for name in names:
            _of_datumaro(pictures, annotate, classes).export(str(folder / f"datumaro_{name}"), name, save_media=True)


def _of_datumaro(pictures: Path, annotate: Callable[[Thing, int], Any], classes: Any) -> Any:
    from datumaro import Dataset, DatasetItem, Image
    from datumaro.components.annotation import AnnotationType

    kinds = (AnnotationType.label, AnnotationType.mask)
    categories = dict(zip(kinds, classes.values(), strict=True)) if isinstance(classes, dict) else classes
    items = [
        DatasetItem(
            id=name,
            subset=split,
            media=Image.from_file(path=str(pictures / f"{name}.png")),
            annotations=[annotate(thing, number) for number, thing in enumerate(PICTURES[name], 1)],
        )
        for split, names in SPLITS.items()
        for name in names
    ]
    return Dataset.from_iterable(items, categories=categories)


def write_supervision(folder: Path, pictures: Path) -> None:
    """supervision: a dataset of masks as COCO, YOLO and Pascal VOC."""
    import supervision

    paths = {name: str(pictures / f"{name}.png") for name in PICTURES}
    annotations = {paths[name]: _detections(supervision, things) for name, things in PICTURES.items()}
    dataset = supervision.DetectionDataset(list(CLASSES), list(paths.values()), annotations)
    top = folder / "supervision_coco"
    dataset.as_coco(str(top / "images"), str(top / "annotations.json"))
    top = folder / "supervision_yolo"
    dataset.as_yolo(str(top / "images"), str(top / "labels"), str(top / "data.yaml"))
    boxes = supervision.DetectionDataset(
        list(CLASSES),
        list(paths.values()),
        {paths[name]: _detections(supervision, things, masks=False) for name, things in PICTURES.items()},
    )
    top = folder / "supervision_voc"
    boxes.as_pascal_voc(str(top / "images"), str(top / "annotations"))


def _detections(supervision: Any, things: tuple[Thing, ...], masks: bool = True) -> Any:
    if not things:
        return supervision.Detections.empty()
    return supervision.Detections(
        xyxy=supervision.mask_to_xyxy(np.array([thing.mask for thing in things])).astype(float)
        if masks
        else np.array([thing.box for thing in things], float),
        mask=np.array([thing.mask for thing in things]) if masks else None,
        class_id=np.array([thing.label for thing in things]),
    )


def write_label_studio(folder: Path, pictures: Path) -> None:
    """label-studio-sdk's converter: polygons as COCO and YOLO, boxes as Pascal VOC, brush labels as PNG."""
    from label_studio_sdk.converter import Converter
    from label_studio_sdk.converter.brush import mask2rle

    def task(number: int, name: str, kind: str) -> dict[str, Any]:
        results = []
        for index, thing in enumerate(PICTURES[name]):
            for part in thing.parts:
                x1, y1, x2, y2 = part
                value: dict[str, Any] = {f"{kind}labels": [thing.name]}
                if kind == "polygon":
                    value["points"] = [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in ring_of(part)]
                elif kind == "rectangle":
                    value |= {"x": 100 * x1 / WIDTH, "y": 100 * y1 / HEIGHT, "rotation": 0}
                    value |= {"width": 100 * (x2 - x1) / WIDTH, "height": 100 * (y2 - y1) / HEIGHT}
                else:
                    value |= {"format": "rle", "rle": mask2rle(thing.mask.astype(np.uint8) * 255)}
                results.append({
                    "id": f"r{index}{x1}", "from_name": "label", "to_name": "image", "type": f"{kind}labels",
                    "original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0, "value": value,
                })  # fmt: skip
                if kind != "polygon":
                    break
        annotation = {"id": number + 6, "completed_by": 1, "result": results}
        return {"id": number, "data": {"image": f"/data/upload/1/a1b2c3e0-{name}.png"}, "annotations": [annotation]}

    for name in PICTURES:  # as an export with images has them
        for top in ("coco", "voc", "yolo"):
            target = folder / f"label_studio_{top}" / "images" / f"a1b2c3e0-{name}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(pictures / f"{name}.png", target)
    for kind, tag, formats in (
        ("polygon", "PolygonLabels", ("COCO", "YOLO")),
        ("rectangle", "RectangleLabels", ("VOC",)),
        ("brush", "BrushLabels", ("BRUSH_TO_PNG",)),
    ):
        labels = "".join(f'<Label value="{name}"/>' for name in CLASSES)
        config = f'<View><Image name="image" value="$image"/><{tag} name="label" toName="image">{labels}</{tag}></View>'
        tasks = folder / f"label_studio_{kind}.json"
        tasks.write_text(json.dumps([task(number, name, kind) for number, name in enumerate(PICTURES, 1)]))
        for name in formats:
            converter = Converter(config, project_dir=str(pictures.parent), download_resources=False)
            top = folder / f"label_studio_{name.lower()}"
            top.mkdir(exist_ok=True)
            converter.convert(str(tasks), str(top), name, is_dir=False)


def write_labelme(folder: Path, pictures: Path) -> None:
    """labelme's own writer of files, without its window, whose Qt is 60 MB: nothing of it is called."""
    for name in ("PyQt5", "PyQt5.QtGui", "PyQt5.QtCore", "PyQt5.QtWidgets"):
        sys.modules.setdefault(name, MagicMock())
    from labelme._label_file import LabelFile

    top = folder / "labelme"
    top.mkdir()
    for name, shapes in labelme_shapes().items():
        shutil.copy(pictures / f"{name}.png", top)
        LabelFile().save(
            filename=str(top / f"{name}.json"),
            shapes=shapes,
            image_path=f"{name}.png",
            image_height=HEIGHT,
            image_width=WIDTH,
            image_data=LabelFile.load_image_file(str(pictures / f"{name}.png")),
        )


def write_cellpose(folder: Path, pictures: Path) -> None:
    """cellpose: masks beside images, and none where nothing was found."""
    from cellpose.io import save_masks

    top = folder / "cellpose"
    top.mkdir()
    for name, things in PICTURES.items():
        shutil.copy(pictures / f"{name}.png", top)
        ids = np.zeros(SIZE, np.uint16)
        for number, thing in enumerate(things, 1):
            ids[thing.mask] = number
        save_masks(np.array(Image.open(top / f"{name}.png")), ids, [None] * 3, str(top / f"{name}.png"))


def write_ultralytics(folder: Path, pictures: Path) -> None:
    """ultralytics' converter from COCO's polygons; the images are put where its readers look for them."""
    from ultralytics.data.converter import convert_coco

    jsons, top = folder / "for_ultralytics", folder / "ultralytics"
    jsons.mkdir()
    for split, names in SPLITS.items():
        (jsons / f"instances_{split}.json").write_text(json.dumps(polygons_of(names)))
    convert_coco(str(jsons), str(top), use_segments=True, cls91to80=False)
    for split, names in SPLITS.items():
        (top / "images" / split).mkdir()
        for name in names:
            shutil.copy(pictures / f"{name}.png", top / "images" / split)
    names = "".join(f"  {number}: {name}\n" for number, name in enumerate(CLASSES))
    (top / "data.yaml").write_text(f"path: .\ntrain: images/train\nval: images/val\nnames:\n{names}")


def polygons_of(names: tuple[str, ...]) -> dict[str, Any]:
    """The pictures in COCO's format, holes filled, for a converter."""
    images, annotations = content(
        names,
        lambda thing: [
            {
                "category_id": thing.label + 1,
                "segmentation": [flat(part) for part in thing.parts],
                "bbox": [thing.box[0], thing.box[1], thing.box[2] - thing.box[0], thing.box[3] - thing.box[1]],
                "iscrowd": 0,
            }
        ],
        file="{}.png",
    )
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}


TOOLS = (write_datumaro, write_supervision, write_label_studio, write_labelme, write_cellpose, write_ultralytics)


def main(folder: Path) -> None:
    """Write everything."""
    pictures = folder / "pictures" / "images"
    for name in PICTURES:
        write_image(pictures / f"{name}.png", name)
    for write in TOOLS:
        write(folder, pictures)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
