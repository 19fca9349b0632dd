"""COCO's json: which tool wrote it, where its images are, and what of it needs an option."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coatseg.data.recognition.candidate import FORMAT, PLAUSIBLE, TOOL, Candidate
from coatseg.data.recognition.splits import split_of, trains
from coatseg.data.recognition.tree import Tree

PARTS = ("images", "annotations", "categories")
LOOKED_UP = 3
"""How many images of a json are looked for among the files."""
SUPERVISION_LICENCE = [{"id": 1, "url": "https://creativecommons.org/licenses/by/4.0/", "name": "CC BY 4.0"}]
"""What supervision writes into every json, formats/coco.py; Roboflow's has it too."""
DATUMARO_LICENCE = [{"name": "", "id": 0, "url": ""}]
"""What datumaro and CVAT write into every json."""
BACKGROUND = "_background_"
"""A class of labelme2coco's that no object has."""
TOOLS = (
    (r"(.*/)?_annotations\.coco\.json", "Roboflow COCO", TOOL),
    (r"(.*/)?annotations/instances_[^/]+\.json", "COCO instances of datumaro or CVAT", TOOL),
    (r"(.*/)?result(_coco)?\.json", "Label Studio COCO", TOOL),
)
"""How tools name their json."""


@dataclass(frozen=True)
class _Json:
    path: str
    content: Mapping[str, Any]
    split: str | None
    images: str

    @property
    def objects(self) -> list[Mapping[str, Any]]:
        return [row for row in self.content["annotations"] if isinstance(row, dict)]


def coco_json(tree: Tree) -> Iterator[Candidate]:
    """Recognise objects in COCO's format."""
    found = [
        _Json(path, content, split_of(path), images_folder(tree, path, content))
        for path, content in tree.jsons.items()
        if is_coco(content) and not _is_panoptic(content)
    ]
    splits = {of.split: of for of in reversed(found) if of.split is not None}
    splits = {name: splits[name] for name in ("train", "val", "test") if name in splits}
    used = list(splits.values()) if trains(dict.fromkeys(splits, "")) else found[:1]
    if not used:
        return
    name, sure = _named(used[0])
    objects = [row for of in used for row in of.objects]
    masks = [row for row in objects if row.get("segmentation")]
    options = {**_places(used), **_objects_options(objects, masks, _marks_masks(used))}
    unused = _unused_classes([of.content for of in used])
    if unused:
        options["leave_out"] = unused
    yield Candidate(
        name=name,
        reason=f"{_listed([of.path for of in used])} in COCO's format, with images in "
        f"{_listed(list(dict.fromkeys(of.images for of in used)))}",
        data="coco_json",
        options=options,
        task="inst" if masks else "det",
        sure=sure if len(used) > 1 or len(found) == 1 else PLAUSIBLE,
        notes=tuple(_notes(options, objects, masks)),
    )


def panoptic_json(tree: Tree) -> Iterator[Candidate]:
    """Recognise COCO's panoptic format: a json whose annotations list segments, and a folder of PNG files."""
    found = {path: content for path, content in tree.jsons.items() if is_coco(content) and _is_panoptic(content)}
    splits = {split: path for path in reversed(found) if (split := split_of(path))}
    used = [splits[name] for name in ("train", "val", "test") if name in splits]
    used = used if trains(splits) else list(found)[:1]
    if not used or not all(_prefixes(tree, _segment_files(found[path])) for path in used):
        return
    options: dict[str, Any] = {}
    for key in ("images", "annotations", "masks"):
        values = {split_of(path) or "": _panoptic_place(tree, key, path, found[path]) for path in used}
        options[key] = _one_or_each(values)
    by_tool = all(re.fullmatch(r"(.*/)?annotations/panoptic_[^/]+\.json", path) for path in used)
    yield Candidate(
        name="COCO panoptic of datumaro or CVAT" if by_tool else "COCO panoptic json",
        reason=f"{_listed(used)} with segments_info, and PNG files of segments",
        data="panoptic_json",
        options=options,
        sure=TOOL if by_tool else FORMAT,
        notes=("It is read as classes of pixels; task=panoptic learns its segments.",),
    )


def is_coco(content: Any) -> bool:
    """Return whether the content of a json is of COCO's format."""
    return isinstance(content, dict) and all(isinstance(content.get(part), list) for part in PARTS)


def images_folder(tree: Tree, path: str, content: Mapping[str, Any]) -> str:
    """Return the folder below which the images of a json are; its own folder if they are nowhere."""
    own = path.rpartition("/")[0] or "."
    rows = [row for row in content["images"][:LOOKED_UP] if isinstance(row, dict)]
    folders = _prefixes(tree, [str(row.get("file_name", "")).replace("\\", "/") for row in rows])
    split = split_of(path)
    if _is_panoptic(content):
        folders -= {path.removesuffix(".json")}  # the segments, which are called as the images are
    near = sorted(folders, key=lambda folder: (split_of(folder) != split, folder != own, folder.count("/"), folder))
    return near[0] if near else ("images" if tree.is_folder("images") else own)


def _prefixes(tree: Tree, names: Sequence[str]) -> set[str]:
    """Return the folders below which all of the named files are."""
    folders: set[str] | None = None
    for name in names:
        ending = f"/{name}"
        here = {file.removesuffix(ending) for file in tree.files if file.endswith(ending)}
        here |= {"."} if name in tree.files else set()
        folders = here if folders is None else folders & here
    return folders or set()


def _panoptic_place(tree: Tree, key: str, path: str, content: Mapping[str, Any]) -> str:
    if key == "annotations":
        return path
    if key == "images":
        return images_folder(tree, path, content)
    folders = _prefixes(tree, _segment_files(content))
    of_json = path.removesuffix(".json")
    return of_json if of_json in folders else min(folders, key=lambda folder: (folder.count("/"), folder))


def _segment_files(content: Mapping[str, Any]) -> list[str]:
    return [str(row.get("file_name")) for row in content["annotations"][:LOOKED_UP] if isinstance(row, dict)]


def _is_panoptic(content: Mapping[str, Any]) -> bool:
    return any(isinstance(row, dict) and "segments_info" in row for row in content["annotations"][:1])


def _named(of: _Json) -> tuple[str, int]:
    for pattern, name, sure in TOOLS:
        if re.fullmatch(pattern, of.path):
            return name, sure
    if _is_of_supervision([of]):
        return "COCO of supervision", TOOL
    if any(row.get("name") == BACKGROUND for row in of.content["categories"] if isinstance(row, dict)):
        return "COCO of labelme2coco", TOOL
    return "COCO json", FORMAT


def _is_of_supervision(jsons: Sequence[_Json]) -> bool:
    return all(of.content.get("licenses") == SUPERVISION_LICENCE and not of.content.get("info") for of in jsons)


def _marks_masks(jsons: Sequence[_Json]) -> bool:
    """Return whether a tool wrote the json that marks every mask of run lengths as a crowd."""
    return _is_of_supervision(jsons) or all(of.content.get("licenses") == DATUMARO_LICENCE for of in jsons)


def _places(used: Sequence[_Json]) -> dict[str, Any]:
    """Return the options that say where jsons and images are: one for all, or one for each split."""
    annotations = {of.split or "": of.path for of in used}
    images = {of.split or "": of.images for of in used}
    return {"annotations": _one_or_each(annotations), "images": _one_or_each(images)}


def _one_or_each(values: Mapping[str, str]) -> Any:
    ordered = {split: values[split] for split in ("train", "val", "test", "") if split in values}
    return ordered if len(set(ordered.values())) > 1 else next(iter(ordered.values()))


def _objects_options(
    objects: Sequence[Mapping[str, Any]], masks: Sequence[Mapping[str, Any]], marks_masks: bool
) -> dict[str, Any]:
    """Return what has to be said of crowds, and of objects without a mask among those with one."""
    crowds = sum(bool(row.get("iscrowd")) for row in objects)
    options = {"crowd": "objects"} if crowds and (marks_masks or crowds == len(objects)) else {}
    return {**options, "without_mask": "leave_out"} if 0 < len(masks) < len(objects) else options


def _unused_classes(contents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the categories without an object that tools add: Roboflow's root, labelme2coco's background."""
    used = {row.get("category_id") for content in contents for row in content["annotations"] if isinstance(row, dict)}
    rows = [row for row in contents[0]["categories"] if isinstance(row, dict)]
    parents = {row.get("supercategory") for row in rows}
    return [
        str(row.get("name"))
        for row in rows
        if row.get("id") not in used
        and (row.get("name") == BACKGROUND or (row.get("supercategory") == "none" and row.get("name") in parents))
    ]


def _notes(
    options: Mapping[str, Any], objects: Sequence[Mapping[str, Any]], masks: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    if "crowd" in options:
        crowds = sum(bool(row.get("iscrowd")) for row in objects)
        yield f"{crowds} of {len(objects)} objects are marked iscrowd, as this tool marks masks: taken as objects."
    if "without_mask" in options:
        yield (
            f"{len(objects) - len(masks)} of {len(objects)} objects have a box and no mask and are left out; "
            "data.without_mask=box takes their boxes, and task=det learns boxes of all."
        )
    if "leave_out" in options:
        yield f"{_listed(options['leave_out'])} has no object and is left out of the classes."


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
