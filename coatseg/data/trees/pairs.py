"""The folders of a dataset of one's own: its images, and the mask or annotation file of each, found by its stem."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from coatseg.data.annotations.multilabel_masks import LayerMasks
from coatseg.data.annotations.objects.mended_boxes import repair_line
from coatseg.data.images.reading import IMAGE_SUFFIXES, NO_IMAGES, stem_of
from coatseg.data.images.walking import walk
from coatseg.data.trees.found_instead import (
    ending_beside,
    folders_to_name,
    list_to_name,
    listing,
    masks_to_name,
    unread_images,
)
from coatseg.data.trees.masked_image import MaskedImage
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError

LAYOUT = "Make images/, masks/ and classes.txt there (see data/README.md for splits), or set data.root=."

Option = Literal["masks", "annotations"]
WORDS: dict[Option, tuple[str, str]] = {
    "masks": ("mask", "masks"),
    "annotations": ("annotation file", "annotation files"),
}
IMAGES = ("image", "images")
LEAVE_OUT: dict[Option, str] = {"masks": ", as data.without_annotation=leave_out does", "annotations": ""}


@dataclass(frozen=True)
class OwnTree:
    """Where the folders, lists and classes of a dataset are, and how the file of an image's truth is found.

    `images` and `masks` are the names of the two folders; "." is the folder above, of all or of a split, and both may
    be one. A mask has the stem of its image and `mask_ending`, and one of `suffixes`: where those are not an image's,
    the files are annotations of another kind, such as json. With `missing` an image may lack its file, and has the path
    where it would be; with `leave_out` such an image is left out and counted; else it is an error. `option` is the key
    of the configuration that names the folder.
    """

    root: Path
    images: str
    masks: str
    classes: str = ""
    layers: LayerMasks | None = None
    mask_ending: str = ""
    suffixes: frozenset[str] = IMAGE_SUFFIXES
    missing: bool = False
    leave_out: bool = False
    option: Option = "masks"

    def mask_of(self, stem: str, folder: Path) -> Path:
        """Return where the mask of an image would be."""
        suffix = ".png" if ".png" in self.suffixes else min(self.suffixes)
        return self.folders_of_masks(folder)[0] / f"{stem}{self.mask_ending}{suffix}"

    def folders_of_masks(self, folder: Path) -> list[Path]:
        """Return the folders that hold masks, given the folder of masks: one, or one for each class of layers."""
        return self.layers.folders(folder) if self.layers else [folder]


@dataclass(frozen=True)
class FoundPairs:
    """The images of a split, each with its mask, and what was left out of it, a line each."""

    pairs: tuple[MaskedImage, ...]
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True)
class PairedFolders:
    """A folder of images and the folder of their masks, both listed once, when they are asked for.

    Raises, when listed:
        ConfigError: both are one folder, and nothing tells a mask from an image.
        DatasetNotFoundError: a folder is missing.
        DatasetError: two files of one stem.
    """

    tree: OwnTree
    folder: Path
    masks_folder: Path

    @cached_property
    def images(self) -> dict[str, Path]:
        """The image of every stem."""
        self._check_folder(self.folder)
        if self.are_one:
            stems = [stem_of(path) for path in walk(self.folder) if path.suffix.lower() in IMAGE_SUFFIXES]
            raise ConfigError(
                f"data.images and data.{self.tree.option} are one folder, {self.folder}, "
                "and nothing tells a mask from an image.",
                ending_beside([Path(stem).name for stem in stems])
                or "Set data.mask_ending to what a mask has after the stem of its image, such as _mask.",
            )
        found = files_by_stem(self.folder, skip=self.tree.folders_of_masks(self.masks_folder))
        if not self._hold_masks:
            return found
        return {stem: path for stem, path in found.items() if not stem.endswith(self.tree.mask_ending)}

    @property
    def are_one(self) -> bool:
        """Whether images and masks are in one folder, and nothing tells them apart."""
        return self._hold_masks and not self.tree.mask_ending

    @property
    def _hold_masks(self) -> bool:
        """Whether masks lie among the images, and are images themselves."""
        of_masks = self.tree.folders_of_masks(self.masks_folder)
        return self.folder in of_masks and not self.tree.suffixes.isdisjoint(IMAGE_SUFFIXES)

    @cached_property
    def masks(self) -> dict[str, Path]:
        """The mask of every stem of an image."""
        if self.tree.layers:
            try:
                return self.tree.layers.find(self.masks_folder)
            except DatasetNotFoundError as error:
                raise DatasetNotFoundError(error.what, f"{listing(self.masks_folder)}{error.mend}") from error
        self._check_folder(self.masks_folder)
        return masks_by_stem(self.masks_folder, self.tree.mask_ending, self.tree.suffixes, [self.folder])

    def pairs(self, stems: Iterable[str]) -> tuple[MaskedImage, ...]:
        """Return the images of `stems` with their masks, without those that the tree leaves out.

        Raises:
            DatasetError: an image has no mask.
        """
        stems, tree, folder = list(stems), self.tree, self.masks_folder
        bare = [stem for stem in stems if stem not in self.masks]
        if bare and not tree.missing and not tree.leave_out:
            others = f", and {len(bare) - 1} more have none" if len(bare) > 1 else ""
            hint = masks_to_name(bare[0], tree.folders_of_masks(folder)[0], tree.mask_ending, tree.suffixes)
            raise DatasetError(
                f"The image {self.images[bare[0]]} has no {WORDS[tree.option][0]} in {folder}{others}.",
                f"{hint}Add {tree.mask_of(bare[0], folder)}, or take the image out{LEAVE_OUT[tree.option]}.",
            )
        return tuple(
            MaskedImage(stem, self.images[stem], self.masks.get(stem) or tree.mask_of(stem, folder))
            for stem in stems
            if stem in self.masks or tree.missing
        )

    def found(self, stems: Iterable[str], of_masks: Iterable[str]) -> FoundPairs:
        """Return the images of `stems` with their masks, and count what is left out, masks among `of_masks`."""
        stems = list(stems)
        pairs = self.pairs(stems)
        kept = {pair.id for pair in pairs}
        bare = [stem for stem in stems if stem not in kept]
        return FoundPairs(pairs, (*unread_images(self.folder), *self._masks_left_out(of_masks), *images_left_out(bare)))

    def _masks_left_out(self, stems: Iterable[str]) -> tuple[str, ...]:
        """Count the masks of `stems` without an image: a line, or none."""
        spare = [
            self.masks[stem].relative_to(self.masks_folder).as_posix() for stem in stems if stem not in self.images
        ]
        words = WORDS[self.tree.option]
        return (repair_line(words, len(spare), "without an image left out", spare[0]),) if spare else ()

    def _check_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            raise DatasetNotFoundError(f"There is no folder {folder}.", layout_to_make(folder, self.tree.option))


def images_left_out(stems: Sequence[str]) -> tuple[str, ...]:
    """Count images without a mask: a line, or none."""
    return (repair_line(IMAGES, len(stems), "without a mask left out", stems[0]),) if stems else ()


def layout_to_make(missing: Path, option: Option) -> str:
    """Return what to do about a missing folder: options for what is there, else what to make."""
    return folders_to_name(missing, option) or list_to_name(missing.parent) or f"{listing(missing.parent)}{LAYOUT}"


def files_by_stem(
    folder: Path, suffixes: Collection[str] = IMAGE_SUFFIXES, skip: Collection[Path] = ()
) -> dict[str, Path]:
    """Map the path of every file of these suffixes under the folder, without suffix, to the file, in order.

    Folders below it that are in `skip` are passed over.

    Raises:
        DatasetError: two files of one stem.
    """
    found: dict[str, Path] = {}
    skip = [one for one in skip if one != folder and one.is_relative_to(folder)]
    for path in sorted(walk(folder)):
        if path.suffix.lower() not in suffixes or path.name.endswith(NO_IMAGES):
            continue
        if any(path.is_relative_to(one) for one in skip):
            continue
        stem = stem_of(path.relative_to(folder))
        if stem in found:
            raise DatasetError(
                f"{found[stem]} and {path} have one stem, {stem!r}.", "Rename one of them, and its mask or image."
            )
        found[stem] = path
    return found


def masks_by_stem(
    folder: Path, ending: str = "", suffixes: Collection[str] = IMAGE_SUFFIXES, skip: Collection[Path] = ()
) -> dict[str, Path]:
    """Map the stem of the image of every mask under the folder to the mask: the files whose stems have the ending."""
    found = files_by_stem(folder, suffixes, skip)
    return {stem.removesuffix(ending): path for stem, path in found.items() if stem.endswith(ending)}
