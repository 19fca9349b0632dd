"""Trees in the manner of Pascal VOC: xml files of boxes, masks with a labelmap."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any
from xml.etree import ElementTree

from coatseg.data.annotations.classes import generated_palette
from coatseg.data.datasets.voc_boxes import SEVERAL
from coatseg.data.recognition.candidate import FORMAT, TOOL, Candidate
from coatseg.data.recognition.splits import by_split, place_of, split_of, split_options, trains, without_split
from coatseg.data.recognition.tree import Tree, join, stem_of, without_mask

XML = r"(?:(.+)/)?([^/]+)\.xml"
LOOKED_AT = 400
"""How many xml files are read, to tell where corners count from."""
SUPERVISION = "supervision"
FIRST = ("xmin", "ymin")
PLACES = ("source/database", "owner/name")
TOOLS = {"roboflow.ai": SUPERVISION, "roboflow.com": "Roboflow", "Label Studio": "Label Studio"}
"""What these places say, and the tool that writes it; supervision alone counts pixels from 1, as VOC does."""
EDGES = "Corners are taken as edges from 0, as tools write them; VOC's own are pixels counted from 1."
PIXELS = (
    "Corners are taken as pixels counted from 1, as VOC's own are: of the boxes seen some begin at 1, and none at 0."
)
LIST_PLACES = ("ImageSets/Segmentation", "ImageSets/Main")
"""The folders in which readers look for lists themselves."""


def voc_masks(tree: Tree) -> Iterator[Candidate]:
    """Recognise "Segmentation mask 1.1" of CVAT and datumaro's voc_segmentation: painted masks and a labelmap.txt."""
    for match in tree.find(r"(?:(.+)/)?labelmap\.txt"):
        top = match[1] or "."
        masks = join(top, "SegmentationClass")
        if not tree.is_folder(masks):
            continue
        images, objects = join(top, "JPEGImages"), join(top, "SegmentationObject")
        lists = _lists(tree, join(top, "ImageSets/Segmentation"))
        bare = without_mask(tree, [images], [masks])
        first = _colours_to_write(tree, match[0])
        yield Candidate(
            name="Segmentation mask of CVAT or datumaro",
            reason=f"{match[0]} beside {masks}, masks in its colours",
            data="folder",
            options={"images": images, "masks": masks, "classes": match[0], "colour_masks": True, **lists, **bare},
            first=first,
        )
        if tree.is_folder(objects):
            colours = {"masks": objects, "class_masks": masks, "classes": match[0]}
            yield Candidate(
                name="Segmentation mask of CVAT or datumaro, read as objects",
                reason=f"{objects} paints each object in a colour",
                data="instance_masks",
                options={"images": images, **colours, **lists, **bare},
                task="inst",
                first=first,
            )


def voc_boxes(tree: Tree) -> Iterator[Candidate]:
    """Recognise boxes in xml files: VOC's folders, or an xml beside each image, or folders of any name."""
    xmls = tree.find(XML)
    read = {match[0]: _annotation(tree, match[0]) for match in islice(xmls, LOOKED_AT)}
    boxes = {path: content for path, content in read.items() if content is not None}
    if not boxes:
        return
    folders = sorted({match[1] or "." for match in xmls})
    lists = [folder for folder in tree.folders if folder.endswith("ImageSets/Main")]
    if lists:
        yield _in_voc_s_folders(tree, lists[0].removesuffix("ImageSets/Main").rstrip("/") or ".", boxes)
        return
    images, reason = _images_of(tree, folders)
    options = {"annotations": place_of(folders), "images": images, **split_options(folders)}
    tool = _tool(boxes)
    from_one, notes = _counted(boxes, tool)
    yield Candidate(
        name=f"Pascal VOC boxes of {tool or 'labelImg or another tool'}",
        reason=f"xml files of boxes {reason}",
        data="voc_boxes",
        options={
            **options,
            "classes": None,
            "one_based": from_one,
            **_without_xml(tree, [folder for folder in tree.image_folders if _is_in(folder, images)]),
        },
        task="det",
        sure=FORMAT,
        notes=notes,
    )


def _counted(boxes: Mapping[str, ElementTree.Element], tool: str | None) -> tuple[bool, tuple[str, ...]]:
    """Return whether corners count from 1, and a note on what that is taken from; a tool's own rule needs none."""
    texts = [text for content in boxes.values() for key in FIRST for text in _texts(content, f"object/bndbox/{key}")]
    begins = [float(text) for text in texts if re.fullmatch(r"\s*\d+(\.\d+)?\s*", text)]
    if tool == SUPERVISION:
        return True, ()
    from_one = begins.count(1) >= SEVERAL and min(begins) >= 1
    return from_one, (PIXELS if from_one else EDGES,)


def _texts(content: ElementTree.Element, path: str) -> list[str]:
    return [part.text or "" for part in content.iterfind(path)]


def _colours_to_write(tree: Tree, labelmap: str) -> str:
    """Say which colours a labelmap lacks: for classes without any datumaro writes none, and paints in VOC's."""
    lines = [line.split(":") for line in tree.lines(labelmap) if not line.startswith("#")]
    if not lines or any(line[1:2] != [""] for line in lines):
        return ""
    colours = generated_palette(len(lines))
    told = " ".join(f"{line[0]}:{','.join(map(str, colour))}::" for line, colour in zip(lines, colours, strict=True))
    return f"{labelmap} has no colours, and the masks are painted in Pascal VOC's: make its lines {told}"


def _in_voc_s_folders(tree: Tree, top: str, boxes: Mapping[str, ElementTree.Element]) -> Candidate:
    from_one, notes = _counted(boxes, None)
    by_tool = tree.has(r"(.+/)?labelmap\.txt") or not tree.has(r"(.+/)?ImageSets/Main/(train|val|trainval)\.txt")
    place = {} if top == "." else {"images": join(top, "JPEGImages"), "annotations": join(top, "Annotations")}
    return Candidate(
        name="Pascal VOC boxes of CVAT or datumaro" if by_tool else "boxes in Pascal VOC's folders",
        reason="JPEGImages, Annotations of xml files and lists in ImageSets/Main",
        data="voc_boxes",
        options={
            **place,
            **_lists(tree, join(top, "ImageSets/Main")),
            "classes": None,
            "one_based": from_one,
            **_without_xml(tree, [join(top, "JPEGImages")]),
        },
        task="det",
        sure=TOOL if by_tool else FORMAT,
        notes=notes,
    )


def _without_xml(tree: Tree, images: list[str]) -> dict[str, Any]:
    """Return what to say of images in some folders that have no xml, as tools write none for empty ones."""
    shown = {stem_of(name) for folder in images for name in tree.image_folders.get(folder, ())}
    return {"without_annotation": "empty"} if shown - {match[2] for match in tree.find(XML)} else {}


def _is_in(folder: str, top: str) -> bool:
    return top == "." or any(f"{path}/".startswith(f"{top}/") for path in (folder, without_split(folder)))


def _lists(tree: Tree, folder: str) -> dict[str, Any]:
    """Return the lists in a folder that say what is in train and val, or the only one, which a hash parts."""
    names = tree.folders.get(folder, ())
    if trains(by_split(names)):
        return {} if folder in LIST_PLACES else {"lists": folder}
    lists = [name for name in names if name.endswith(".txt")]
    return {"lists": join(folder, lists[0])} if lists else {"split_by": "fraction"}


def _images_of(tree: Tree, folders: list[str]) -> tuple[str, str]:
    """Return the folder of the images of xml files in `folders`, and in words where it is."""
    if all(folder in tree.image_folders for folder in folders):
        return place_of(folders), "beside their images"
    others = [folder for folder in tree.image_folders if split_of(folder) in {split_of(name) for name in folders}]
    images = place_of(others or sorted(tree.image_folders))
    return images, f"in {place_of(folders)}, with images in {images}"


def _annotation(tree: Tree, path: str) -> ElementTree.Element | None:
    try:
        root = ElementTree.fromstring((tree.root / path).read_bytes())
    except (OSError, ElementTree.ParseError):
        return None
    return root if root.tag == "annotation" else None


def _tool(boxes: Mapping[str, ElementTree.Element]) -> str | None:
    """Return the tool that wrote the files, as far as they tell."""
    said = {(content.findtext(place) or "").strip() for content in boxes.values() for place in PLACES}
    return next((tool for words, tool in TOOLS.items() if words in said), None)
