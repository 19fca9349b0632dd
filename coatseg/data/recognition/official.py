"""The trees of published datasets, which have readers of their own."""

from __future__ import annotations

from collections.abc import Iterator

from coatseg.data.recognition.candidate import OFFICIAL, Candidate
from coatseg.data.recognition.tree import Tree

TREES: tuple[tuple[str, str, str, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        "ade20k", "ADE20K", "seg",
        (r"(ADEChallengeData2016/)?images/training/ADE_[^/]+",
         r"(ADEChallengeData2016/)?annotations/training/ADE_[^/]+"), (),
    ),
    (
        "camvid", "CamVid in the version of SegNet", "seg",
        (r"train\.txt", r"train/[^/]+", r"trainannot/[^/]+"), (r"label_colors\.txt",),
    ),
    (
        "cityscapes", "Cityscapes", "seg",
        (r"(cityscapes/)?leftImg8bit/train/.+/[^/]+_leftImg8bit\.png",
         r"(cityscapes/)?gtFine/train/.+/[^/]+_gtFine_label\w+\.png"),
        (r"label_colors\.txt",),
    ),
    (
        "voc", "Pascal VOC", "seg",
        (r"(VOCdevkit/)?(VOC2012/)?JPEGImages/\d{4}_\d{6}\.jpg",
         r"(VOCdevkit/)?(VOC2012/)?SegmentationClass/\d{4}_\d{6}\.png",
         r"(VOCdevkit/)?(VOC2012/)?ImageSets/Segmentation/train\.txt"),
        (r"(.+/)?labelmap\.txt",),
    ),
    ("coco", "COCO 2017", "inst", (r"annotations/instances_train2017\.json", r"(images/)?train2017/[^/]+"), ()),
    (
        "coco_panoptic", "COCO panoptic 2017", "seg",
        (r"annotations/panoptic_train2017\.json", r"(images/)?train2017/[^/]+"), (),
    ),
    (
        "coco_stuff", "COCO-Stuff", "seg",
        (r"(stuffthingmaps|annotations)/train2017/[^/]+\.png", r"(images/)?train2017/[^/]+"), (),
    ),
)  # fmt: skip
"""Of each dataset its reader, its name, its task, the files that it has, where its reader looks for them, and those
that it does not have."""


def official(tree: Tree) -> Iterator[Candidate]:
    """Recognise the trees that the archives of published datasets unpack to."""
    for data, name, task, has, lacks in TREES:
        if all(map(tree.has, has)) and not any(map(tree.has, lacks)):
            seen = tree.find(has[0])[0][0]
            yield Candidate(name=name, reason=f"{seen} and what belongs to it", data=data, task=task, sure=OFFICIAL)
