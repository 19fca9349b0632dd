"""What lies where something else was looked for, in words for errors, with the options that would fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from itertools import islice
from pathlib import Path

from coatseg.data.annotations.objects.mended_boxes import repair_line
from coatseg.data.images.other_formats import is_of_other_format
from coatseg.data.images.reading import IMAGE_SUFFIXES
from coatseg.data.images.walking import walk
from coatseg.errors import listed

# How tools and datasets call their folders, the likeliest first.
FOLDERS = {
    "images": ("images", "JPEGImages", "image", "imgs", "img", "PNGImages", "image_2", "photos"),
    "masks": ("masks", "SegmentationClass", "mask", "labels", "label", "PedMasks", "semantic", "annotations", "gt"),
    "annotations": ("annotations", "labels", "label", "json", "ann", "xml"),
}
ENOUGH = 2000
"""How many entries of a folder are looked at."""


def folders_to_name(missing: Path, option: str) -> str:
    """Say which options name the folders that lie beside a missing one; empty if none looks like them.

    `option` is the key that names the folder of masks or annotations.
    """
    place = missing.parent
    names = _names(place)
    found = {key: name for key in ("images", option) if (name := _known(FOLDERS[key], place, names))}
    for inside in dict.fromkeys((found.get("images", "."), ".")):
        stems = _image_stems(_names(place / inside))
        ending = common_ending(stems)
        if ending and option not in found:
            return _ending_words(*ending, f"data.images={inside} data.{option}={inside} ").strip()
        if stems:
            found.setdefault("images", inside)
    if option not in found:
        return ""
    there = [f"{name}/" for name in dict.fromkeys(found.values()) if name != "."]
    options = " ".join(f"data.{key}={name}" for key, name in found.items())
    return f"There {'are' if len(there) > 1 else 'is'} {' and '.join(there)}: set {options}."


def list_to_name(root: Path) -> str:
    """Say how to split by a list of all images that lies in a folder; empty if there is none."""
    return (
        "There is default.txt: set data.lists=default.txt if it lists the images."
        if (root / "default.txt").is_file()
        else ""
    )


def common_ending(stems: Collection[str]) -> tuple[str, str] | None:
    """Return a stem that is another's beginning, and the ending of the other, such as _mask: masks beside their images.

    It is the most common ending that begins with no letter or digit and has a letter; None if there is none.
    """
    known, counts = set(stems), Counter[str]()
    first: dict[str, str] = {}
    for stem in stems:
        ending = next((stem[cut:] for cut in range(len(stem) - 1, 0, -1) if stem[:cut] in known), "")
        if ending and not ending[0].isalnum() and any(letter.isalpha() for letter in ending):
            counts[ending] += 1
            first.setdefault(ending, stem.removesuffix(ending))
    return next(((first[ending], ending) for ending, _ in counts.most_common(1)), None)


def ending_beside(stems: Collection[str]) -> str:
    """Say which masks lie beside their images, by the ending that they have in common; empty if none do."""
    ending = common_ending(list(islice(stems, ENOUGH)))
    return _ending_words(*ending, "").strip() if ending else ""


def masks_to_name(stem: str, folder: Path, ending: str, suffixes: Collection[str]) -> str:
    """Say what the mask of an image is called in a folder where none was found, else what lies there."""
    place, name = (folder / stem).parent, Path(stem).name
    names = _names(place)
    for one in names:
        path = Path(one)
        if path.suffix.lower() in suffixes and path.stem.startswith(name):
            rest = path.stem.removeprefix(name)
            if not rest and ending:
                return f"There is {one}: leave data.mask_ending out. "
            if rest and not rest[0].isalnum() and rest != ending:
                return f"There is {one}: set data.mask_ending={rest}. "
    return listing(place)


def listing(place: Path) -> str:
    """Say what a folder holds, the first names of it; empty if that is nothing."""
    shown = [f"{name}/" if (place / name).is_dir() else name for name in _names(place)]
    return f"{place} holds {listed(shown)}. " if shown else ""


def files_of_no_kind(folder: Path, suffixes: Collection[str]) -> str:
    """Say which files of a folder are passed over for their suffixes; empty if none are."""
    others = [
        name for name in _names(folder) if (folder / name).is_file() and Path(name).suffix.lower() not in suffixes
    ]
    if not others:
        return ""
    return f"{folder} holds {listed(others)}; files end in {', '.join(sorted(suffixes))}. "


def unread_images(folder: Path) -> tuple[str, ...]:
    """Count the files of a folder that are images of kinds that are not read: a line, or none."""
    unread = sorted(path for path in walk(folder) if is_of_other_format(path))
    if not unread:
        return ()
    first = unread[0].relative_to(folder).as_posix()
    return (repair_line(("file", "files"), len(unread), "of a kind that is not read left out", first),)


def _ending_words(stem: str, ending: str, options: str) -> str:
    return f"{stem}{ending} lies beside {stem}: set {options}data.mask_ending={ending}. "


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(path.name for path in islice(folder.iterdir(), ENOUGH) if not path.name.startswith("."))


def _known(choices: Iterable[str], place: Path, names: Collection[str]) -> str | None:
    there = {name.lower(): name for name in names if (place / name).is_dir()}
    return next((there[choice.lower()] for choice in choices if choice.lower() in there), None)


def _image_stems(names: Iterable[str]) -> list[str]:
    return [Path(name).stem for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES]
