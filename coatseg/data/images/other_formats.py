"""Files that hold images in formats that are not read, by their names: where images are missing, these are named."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath

_VOLUME, _SCANS = "volumes: save their slices as TIFF, PNG or .npy", "scans: save their pixels as TIFF, PNG or .npy"
_ARRAYS, _SLIDE = "arrays: save each image as .npy", "slides: save what is wanted of them as a tiled TIFF"
_PHOTO, _RAW = "photographs: save them as PNG or JPEG", "raw photographs: develop them to 16-bit TIFF"
_MICROSCOPE, _MAP = "microscopes' files: save them as OME-TIFF", "maps: `gdal_translate` makes TIFF of them"

# What is in them and the mend, by the end of the name.
_MEANINGS = {
    _VOLUME: (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".mrc"),
    _SCANS: (".dcm", ".dicom"),
    _ARRAYS: (".h5", ".hdf5", ".mat", ".npz", ".zarr", ".n5", ".parquet", ".tfrecord", ".pkl", ".pt"),
    _SLIDE: (".mrxs", ".scn", ".vms", ".bif", ".isyntax"),
    _PHOTO: (
        ".heic",
        ".heif",
        ".avif",
        ".jxl",
        ".gif",
        ".ppm",
        ".pgm",
        ".pbm",
        ".tga",
        ".psd",
        ".exr",
        ".hdr",
        ".jfif",
    ),
    _RAW: (".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf"),
    _MICROSCOPE: (".czi", ".nd2", ".lif", ".lsm", ".oib", ".oif", ".vsi", ".ims", ".stk"),
    _MAP: (".nc", ".grib", ".img", ".vrt", ".ecw", ".sid", ".safe", ".j2k", ".jpx"),
}
_ENDINGS = {ending: meaning for meaning, endings in _MEANINGS.items() for ending in endings}
_SHOWN = 3


def words_on_other_formats(files: Iterable[PurePath]) -> str:
    """Return a sentence for each kind of file that is there and not read, with its mend; "" if there are none.

    Such as "There are 12 .nii.gz files, volumes: save their slices as TIFF, PNG or .npy."
    """
    counts: dict[str, int] = {}
    for file in files:
        ending = _ending(file)
        if ending is not None:
            counts[ending] = counts.get(ending, 0) + 1
    most = sorted(counts, key=lambda ending: -counts[ending])[:_SHOWN]
    return " ".join(
        f"There {'are' if counts[ending] > 1 else 'is'} {counts[ending]} {ending} file{'s' * (counts[ending] > 1)}, "
        f"{_ENDINGS[ending]}."
        for ending in most
    )


def is_of_other_format(file: PurePath) -> bool:
    """Return whether a name is that of an image in a format that is not read."""
    return _ending(file) is not None


def _ending(file: PurePath) -> str | None:
    suffixes = [suffix.lower() for suffix in file.suffixes]
    return next((ending for ending in ("".join(suffixes[-2:]), *suffixes[-1:]) if ending in _ENDINGS), None)
