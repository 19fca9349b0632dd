"""What forms of COCO's panoptic format for servers share: PNG files in one folder, their json, and a zip of both."""

from __future__ import annotations

from collections.abc import Sequence

from coatseg.data.images.sources import Source
from coatseg.results.predict.forms.submission import check_apart, stem_of, write_zip, zip_words
from coatseg.results.predict.writers import PanopticWriter


class PanopticSubmission(PanopticWriter):
    """Writes `pngs`/NAME.png and `joined`, and at the end the first of its `files`, a zip that has both."""

    form: str
    words = ""

    def png(self, source: Source) -> str:
        """Return the name of an image's PNG: that of the image, as all are in one folder."""
        return f"{stem_of(source)}.png"

    def check(self, sources: Sequence[Source]) -> None:
        """Raise ConfigError if two images would have one file."""
        check_apart(sources, self.png, f"for={self.form} names files by those of the images")

    def wanted(self, sources: Sequence[Source]) -> int:
        """Return how many images a server wants; here those that are predicted."""
        return len(sources)

    def conclude(self, sources: Sequence[Source], *, pictures: bool) -> str:
        """Write the json, and zip it with the files that it names."""
        super().conclude(sources, pictures=pictures)
        whole = [source for source in sources if self.done(source)]
        write_zip(self.place, self.files[0], (self.joined, *(f"{self.pngs}/{self.png(one)}" for one in whole)))
        return zip_words(self.files[0], len(whole), self.wanted(sources))
