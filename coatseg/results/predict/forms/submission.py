"""What forms for servers share: a file or more for each image, all in one folder, and a zip of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from coatseg.data.annotations.classes import first_repeated
from coatseg.data.images.sources import Source
from coatseg.data.images.statements.geotags import GeoTags
from coatseg.errors import ConfigError
from coatseg.results.predict.canvas import LabelMap
from coatseg.results.predict.map_files import renumbered_palette, write_png
from coatseg.results.predict.numbers import numbering_of
from coatseg.results.predict.writers import Writer
from coatseg.structures import DatasetInfo
from coatseg.system.fsspec_folders import Place

FIRST_DATE = (1980, 1, 1, 0, 0, 0)
"""The date of all files in a zip, so that the same predictions give the same zip."""


def stem_of(source: Source) -> str:
    """Return the last part of an image's id: the name of its file without the suffix."""
    return PurePosixPath(source.id).name


def check_apart(sources: Sequence[Source], name_of: Callable[[Source], str], rule: str) -> None:
    """Raise if two images would have one file; the `rule` is that by which they have one name.

    Raises:
        ConfigError: some have.
    """
    twice = first_repeated(map(name_of, sources))
    if twice is not None:
        one, two = [source.name for source in sources if name_of(source) == twice][:2]
        raise ConfigError(
            f"{rule}, and {one} and {two} are both called {twice}.", "Rename one of them, or predict them apart."
        )


class Submission(Writer):
    """Writes files of images below the first of its `folders`, and at the end all of them as the first of its `files`.

    The last file of an image, by which it is `done`, is `main_name`; `members` are all that belong to it. Paths in the
    zip are those below `zipped_from`.
    """

    form: str
    zipped_from: str = ""

    @abstractmethod
    def main_name(self, source: Source) -> str:
        """Return the name of the file of an image that is written last."""

    def members(self, source: Source) -> Iterator[str]:
        """Yield the names of all files of an image that is done."""
        yield self.main_name(source)

    def check(self, sources: Sequence[Source]) -> None:
        """Raise if two images would have one file, as all are in one folder."""
        check_apart(sources, stem_of, f"for={self.form} names files by those of the images")

    def done(self, source: Source) -> bool:
        """Look for the file that is written last."""
        return self.place.exists(self.main_name(source))

    def conclude(self, sources: Sequence[Source], *, pictures: bool) -> str:
        """Zip the files of all images."""
        super().conclude(sources, pictures=pictures)
        whole = [source for source in sources if self.done(source)]
        name = self.files[0]
        write_zip(self.place, name, (member for source in whole for member in self.members(source)), self.zipped_from)
        return zip_words(name, len(whole), len(sources))


def write_zip(place: Place, name: str, members: Iterable[str], zipped_from: str = "") -> None:
    """Write files of a place as a zip in it, under their paths below `zipped_from`: the same files, the same zip."""
    with place.writing(name) as file, ZipFile(file, "w") as archive:
        for member in members:
            entry = ZipInfo(member.removeprefix(zipped_from), FIRST_DATE)
            entry.external_attr = 0o644 << 16
            packed = ZIP_STORED if member.endswith(".png") else ZIP_DEFLATED
            archive.writestr(entry, place.read(member), packed)


def zip_words(name: str, there: int, wanted: int) -> str:
    """Return a line on how many images a file for a server has."""
    if there == wanted:
        return f"{name}: {there} image{'s' * (there != 1)}"
    return f"{name}: {there} of {wanted} images, and a server may want all; mend the others and go on with resume=true"


class LabelSubmission(Submission):
    """Writes a label map of each image as a PNG of the numbers of `known`, a dataset, and `nothing` for other pixels.

    Classes are matched by name. The PNG is called TREE/NAME.png, and has colours with `palette`, else it is grey.
    """

    tree: str
    known: DatasetInfo
    nothing: int = 0
    nothing_means: str = "no class"
    palette: bool = False

    def __init__(self, place: Place, info: DatasetInfo) -> None:
        super().__init__(place, info)
        self.numbering = numbering_of(info, self.known, self.form, self.nothing)
        self.colours = renumbered_palette(self.numbering, info.palette) if self.palette else ()
        self.words = (
            f"{self.tree}/NAME.png of {self.known.name}'s numbers, {min(self.numbering.classes)} to "
            f"{max(self.numbering.classes)}; pixels without a sure class are {self.nothing}, {self.nothing_means}"
        )

    def main_name(self, source: Source) -> str:
        """Return the name of the PNG."""
        return f"{self.tree}/{stem_of(source)}.png"

    def write(self, source: Source, written: LabelMap, tags: GeoTags | None) -> None:
        """Write the numbers."""
        write_png(self.place, self.main_name(source), self.numbering(written.labels), self.colours)
