"""Trees of masks: by their names, the lists beside them, and the files that name their classes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from coatseg.data.annotations.classes import generated_palette
from coatseg.data.recognition.candidate import FORMAT, PLAUSIBLE, Candidate
from coatseg.data.recognition.splits import by_split, place_of, split_options, trains, without_split
from coatseg.data.recognition.tree import Tree, join, stem_of, without_mask
from coatseg.data.trees.found_instead import common_ending

COLOURS = "label_colors.txt"
"""The names and colours that datumaro writes beside masks."""
WITHOUT_CLASSES = "Write classes.txt first, one class a line, that of label 0 first."
ROAD = 7
"""The number of Cityscapes' first class."""


def cityscapes_of_datumaro(tree: Tree) -> Iterator[Candidate]:
    """Recognise datumaro's Cityscapes tree, whose label numbers are the export's own."""
    found = tree.find(r"gtFine/(.+)/[^/]+_gtFine_labelIds\.png")
    if not found or COLOURS not in tree.files:
        return
    names = [line.split()[-1] for line in tree.lines(COLOURS)]
    yield Candidate(
        name="Cityscapes tree of datumaro",
        reason=f"{found[0][0]} and {COLOURS}, which numbers the labels",
        data="cityscapes",
        first=""
        if names[ROAD : ROAD + 1] == ["road"]
        else f"Its labels are the numbers of the lines of {COLOURS}, and not those of Cityscapes: export it as "
        "voc_segmentation, which data=folder reads.",
    )


def camvid_of_datumaro(tree: Tree) -> Iterator[Candidate]:
    """Recognise datumaro's CamVid tree: lists of images and painted masks, and their colours."""
    lists = {match[1]: match[0] for match in tree.find(r"([^/]+)\.txt") if tree.is_folder(f"{match[1]}annot")}
    if not lists or COLOURS not in tree.files:
        return
    yield Candidate(
        name="CamVid tree of datumaro",
        reason=f"{', '.join(lists.values())} beside folders of masks, and {COLOURS}",
        data="folder",
        options={
            "classes": COLOURS,
            "colour_masks": True,
            **({"split_by": "lists"} if trains(by_split(lists)) else {"lists": next(iter(lists.values()))}),
            **without_mask(tree, lists, [f"{name}annot" for name in lists]),
        },
        first="" if any(line[0].isdigit() for line in tree.lines(COLOURS)) else _colours_to_write(tree),
    )


def _colours_to_write(tree: Tree) -> str:
    """Say which colours a list lacks: classes without are painted in VOC's, after black for the background."""
    names = tree.lines(COLOURS)
    colours = generated_palette(len(names) + 1)[1:]
    told = ", ".join(f"{' '.join(map(str, colour))} {name}" for name, colour in zip(names, colours, strict=True))
    return f"{COLOURS} has no colours, and the masks are painted in those of Pascal VOC: write its lines as {told}."


def kitti(tree: Tree) -> Iterator[Candidate]:
    """Recognise KITTI's tree of semantic masks."""
    found = tree.find(r"(?:(.+)/)?image_2/[^/]+")
    tops = sorted({match[1] or "." for match in found if tree.is_folder(join(match[1] or ".", "semantic"))})
    if not tops:
        return
    top = "." if trains(by_split(tops)) else tops[0]
    images = [join(top, "image_2") for top in tops]
    shared = {**split_options(tops), **without_mask(tree, images, [join(top, "semantic") for top in tops])}
    named = {"classes": COLOURS} if COLOURS in tree.files else {}
    yield Candidate(
        name="KITTI",
        reason=f"image_2 and semantic in {', '.join(tops)}",
        data="folder",
        options={"images": join(top, "image_2"), "masks": join(top, "semantic"), **named, **shared},
        first="" if named or "classes.txt" in tree.files else WITHOUT_CLASSES,
    )
    names = [line.split()[-1] for line in tree.lines(COLOURS)]
    if names and tree.has(r"(.+/)?instance/[^/]+\.png"):
        numbers = {"ids_per_class": 256, "classes": names[1:], "class_ids": list(range(1, len(names)))}
        yield Candidate(
            name="KITTI, read as objects",
            reason=f"instance holds 256 times the line of {COLOURS}, and a number",
            data="instance_masks",
            options={"images": join(top, "image_2"), "masks": join(top, "instance"), **numbers, **shared},
            task="inst",
        )


def roboflow_masks(tree: Tree) -> Iterator[Candidate]:
    """Recognise Roboflow's semantic masks: x.jpg and x_mask.png in one folder, with _classes.csv."""
    found = tree.find(r"(?:(.+)/)?_classes\.csv")
    if not found or not tree.has(r".*_mask\.png"):
        return
    folders = [match[1] or "." for match in found]
    splits = by_split(folders)
    yield Candidate(
        name="Roboflow semantic masks",
        reason=f"{found[0][0]}, and masks x_mask.png beside x.jpg",
        data="folder",
        options={
            "images": ".",
            "masks": ".",
            "mask_ending": "_mask",
            "classes": join(splits.get("train", folders[0]), "_classes.csv"),
            **split_options(folders),
        },
    )


def cellpose(tree: Tree) -> Iterator[Candidate]:
    """Recognise cellpose: x_cp_masks.png or .tif beside x."""
    found = tree.find(r"(?:(.+)/)?[^/]+_cp_masks\.(png|tiff?)")
    if not found:
        return
    folders = sorted({match[1] or "." for match in found})
    yield Candidate(
        name="cellpose masks",
        reason=f"{found[0][0]} beside its image",
        data="instance_masks",
        options={
            "images": ".",
            "masks": ".",
            "mask_ending": "_cp_masks",
            **split_options(folders),
            **without_mask(tree, folders, folders, "_cp_masks"),
        },
        task="inst",
    )


def label_studio_brush(tree: Tree) -> Iterator[Candidate]:
    """Recognise Label Studio's brush labels as PNG: a file for each task and label."""
    found = tree.find(r"(?:(.+)/)?task-\d+-annotation-\d+-by-[^/-]+-[^/]+?-([^/-]+)-\d+\.png")
    if not found:
        return
    yield Candidate(
        name="Label Studio brush labels as PNG",
        reason=f"{found[0][0]}: a PNG for each task and label",
        data="folder",
        options={"layers": True},
        task="multilabel",
        first="Its files are named by tasks and not by images: data/README.md, under folder, has the lines that move "
        "them to masks/LABEL/ with the images' names; write classes.txt with the labels.",
    )


def own_folder(tree: Tree) -> Iterator[Candidate]:
    """Recognise the layout of data=folder, and what is near it: folders of images and of masks with the same names."""
    pairs = list(_pairs(tree))
    if not pairs:
        yield from _own_files_in_one_folder(tree)
        return
    images, masks = pairs[0]
    alike = [pair for pair in pairs if tuple(map(without_split, pair)) == (without_split(images), without_split(masks))]
    folders = [folder for folder, _ in alike]
    splits = split_options(folders)
    if not splits:
        images, masks = without_split(images), without_split(masks)
    layers = [
        mask for folder, mask in pairs if folder == images and mask.rpartition("/")[0] == masks.rpartition("/")[0]
    ]
    options: dict[str, Any] = {"images": images, "masks": masks, "classes": "classes.txt", "layers": False}
    if len(layers) > 1:
        options |= {"masks": masks.rpartition("/")[0], "layers": True}
    usual = {"images": "images", "masks": "masks", "classes": "classes.txt", "layers": False}
    listed = "classes.txt" in tree.files
    reason = f"masks in {options['masks']} have the names of images in {images}"
    said = {name: value for name, value in options.items() if value != usual[name]}
    yield Candidate(
        name="images and masks of your own",
        reason=reason,
        data="folder",
        options={**said, **splits},
        task="multilabel" if options["layers"] else "seg",
        sure=FORMAT if listed else PLAUSIBLE,
        first="" if listed else WITHOUT_CLASSES,
    )
    if not listed and not options["layers"]:
        yield _numbered(reason, {**said, **splits})


def _own_files_in_one_folder(tree: Tree) -> Iterator[Candidate]:
    """Recognise masks beside their images, by the ending that they have in common."""
    endings = {folder: common_ending(list(map(stem_of, names))) for folder, names in tree.image_folders.items()}
    found = {folder: ending for folder, ending in endings.items() if ending is not None}
    if not found or len({ending for _, ending in found.values()}) > 1:
        return
    folders = sorted(found)
    stem, ending = found[folders[0]]
    place, listed = place_of(folders), "classes.txt" in tree.files
    options = {
        "images": place, "masks": place, "mask_ending": ending, **split_options(folders),
        **without_mask(tree, folders, folders, ending),
    }  # fmt: skip
    reason = f"{join(folders[0], stem + ending)} lies beside {stem}"
    yield Candidate(
        name="images and masks of your own",
        reason=reason,
        data="folder",
        options=options,
        sure=FORMAT if listed else PLAUSIBLE,
        first="" if listed else WITHOUT_CLASSES,
    )
    if not listed:
        yield _numbered(reason, options)


def _numbered(reason: str, options: dict[str, Any]) -> Candidate:
    """Return masks without a list of classes as those that number objects, which nothing but their pixels tells."""
    return Candidate(
        name="images and masks of your own, read as objects",
        reason=f"{reason}, if each object has a number in them",
        data="instance_masks",
        options=options,
        task="inst",
        sure=PLAUSIBLE,
    )


def _pairs(tree: Tree) -> Iterator[tuple[str, str]]:
    """Find two folders whose files have the same stems, the second one a folder of masks by its name."""
    for masks, names in tree.image_folders.items():
        if not re.search(r"mask|label|annot|seg|gt", masks.lower()):
            continue
        stems = set(map(stem_of, names))
        for images, others in tree.image_folders.items():
            if images != masks and stems and stems <= set(map(stem_of, others)):
                yield images, masks
