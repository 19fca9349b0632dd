"""Prediction of a folder by Lightning's Trainer: each image is read, predicted and written by one process."""

from __future__ import annotations

import importlib.util
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader

from coatseg.data.images.slides import FULL, SLIDE_SUFFIXES, Scale, read_slide_size
from coatseg.data.images.sources import SKIPPED_FILE, Skipped, Source, fetched
from coatseg.data.images.statements.geotags import NOWHERE, GeoTags, read_tags
from coatseg.data.images.tiff.header import read_header
from coatseg.data.loading.module import as_is, one_thread
from coatseg.errors import CoatsegError, ImageError, NameTooLongError
from coatseg.results.predict.opened_image import OpenedImage, open_path
from coatseg.results.predict.pictures import picture_of
from coatseg.results.predict.predictor import Predictor
from coatseg.results.predict.writers import Writer
from coatseg.structures import Size
from coatseg.system.json_lines import write_lines
from coatseg.visualize.sheets import encode_picture

PICTURES = "pictures"
TIFF = (".tif", ".tiff")


@dataclass(frozen=True)
class ReadImage:
    """The result of reading a source: the image, with a GeoTIFF's tags, or an error."""

    source: Source
    image: OpenedImage | None
    tags: GeoTags | None = None
    error: ImageError | None = None


class Loading(torch.utils.data.Dataset[list[ReadImage]]):
    """Reads groups of sources in the worker processes; errors are returned as values."""

    def __init__(self, groups: Sequence[Sequence[Source]], predictor: Predictor) -> None:
        self.groups = groups
        self.channels = predictor.info.channels
        self.bands = predictor.bands
        self.scale = predictor.scale
        self.max_pixels = predictor.max_pixels
        self.windows = predictor.reads_windows
        self.nodata = predictor.nodata

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, place: int) -> list[ReadImage]:
        return [self._load(source) for source in self.groups[place]]

    def _load(self, source: Source) -> ReadImage:
        try:
            with fetched(source) as path:
                windows = self.windows and str(path) == source.address  # a copy is gone when they are read
                image = open_path(
                    source.id,
                    path,
                    self.channels,
                    self.bands,
                    max_pixels=self.max_pixels,
                    windows=windows,
                    nodata=self.nodata,
                    scale=self.scale,
                )
                return ReadImage(source, image, tags_of(path, self.scale, image.size))
        except ImageError as error:
            return ReadImage(source, None, error=error)


class PredictionRun(lightning.LightningModule):
    """Predicts sources in groups of `predictor.batch_size` and writes files, for `Trainer.predict`.

    The whole list is split into groups, whatever of it is done already, and each group belongs to one process: so
    neither resuming nor the number of processes changes which images go through the model together. A group with a
    missing file is predicted again. With `pictures`, the predictions are drawn over the images, too. `skipped` are the
    files that could not be predicted, at the end those of all processes.
    """

    def __init__(
        self, predictor: Predictor, sources: Sequence[Source], writer: Writer, *, pictures: bool, workers: int
    ) -> None:
        super().__init__()
        self.task = predictor.task
        self.predictor = predictor
        self.writer = writer
        self.place = writer.place
        self.pictures = pictures
        self.workers = workers
        size = predictor.batch_size
        self.groups = [sources[begin : begin + size] for begin in range(0, len(sources), size)]
        self.skipped: list[Skipped] = []
        self.written = 0
        self.images_to_do = 0
        self.error: CoatsegError | None = None

    def predict_dataloader(self) -> DataLoader[list[ReadImage]]:
        """Return a loader of this process's groups, without those that are done."""
        trainer = self.trainer
        own = self.groups[trainer.global_rank :: trainer.world_size]
        left = [group for group in own if not all(self.done(source) for source in group)]
        self.images_to_do = sum(len(group) for group in left)
        return DataLoader(
            Loading(left or [[]], self.predictor),  # a process without a step would not join the others at the end
            batch_size=None,
            collate_fn=as_is,
            num_workers=self.workers,
            worker_init_fn=one_thread,
            prefetch_factor=1 if self.workers else None,
        )

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Return the images as read; the predictor moves the model's input."""
        return batch

    def predict_step(self, batch: list[ReadImage], batch_idx: int) -> int:
        """Predict a group, write its files, and return how many of its images could be read."""
        if self.trainer.received_sigterm:  # which Lightning notes and leaves to its fitting loop
            sys.exit(128 + signal.SIGTERM)
        self.skipped += [_skipped(item, item.error) for item in batch if item.error is not None]
        there = [(item, item.image) for item in batch if item.image is not None]
        if there:
            try:
                self._predict(there)
            except CoatsegError as error:  # such as a full disk, reported when the processes meet
                self.error = error
                raise StopIteration from error  # which ends Lightning's loop
        return len(there)

    def _predict(self, group: Sequence[tuple[ReadImage, OpenedImage]]) -> None:
        """Predict images together and write their files; if one of them cannot be predicted, predict each by itself."""
        try:
            results = self.predictor.results([image for _, image in group])
        except ImageError as error:
            if len(group) > 1:
                for one in group:
                    self._predict([one])
            else:
                self.skipped += [_skipped(item, error) for item, _ in group]
            return
        for (item, image), written in zip(group, results, strict=True):
            try:
                self.writer.write(item.source, written, item.tags)
                if self.pictures:
                    picture = picture_of(written, image, self.predictor.info)
                    self.place.write(_picture(item.source), encode_picture(picture))
            except (NameTooLongError, ImageError) as error:
                self.skipped.append(_skipped(item, error))
            else:
                self.written += 1

    def on_predict_epoch_end(self) -> None:
        """Gather what the processes have skipped and written, in the order of the files.

        Raises:
            CoatsegError: in the first process, its own error or that of another process; the other processes end.
        """
        own = (self.skipped, self.written, self.error and (self.error.what, self.error.mend))
        shares: list[Any] = [own]
        if self.trainer.world_size > 1:
            shares = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(shares, own)
        self.skipped = sorted((one for images, _, _ in shares for one in images), key=lambda one: one.file)
        self.written = sum(written for _, written, _ in shares)
        errors = [CoatsegError(*error) for _, _, error in shares if error is not None]
        if errors and not self.trainer.is_global_zero:
            sys.exit()  # without a code, or Lightning would end the first process before it reports
        if errors:
            raise self.error or errors[0]

    def conclude(self) -> str:
        """Write what is common to all images, once all processes are done: joined objects, legend, skipped files.

        Return the writer's line on it, if it has one.
        """
        write_lines(self.place, SKIPPED_FILE, map(asdict, self.skipped))
        return self.writer.conclude([source for group in self.groups for source in group], pictures=self.pictures)

    def done(self, source: Source) -> bool:
        """Return whether every file of a source is there."""
        return self.writer.done(source) and (not self.pictures or self.place.exists(_picture(source)))


def _skipped(item: ReadImage, error: CoatsegError) -> Skipped:
    return Skipped(item.source.id, item.source.address, error.what)


def _picture(source: Source) -> str:
    return f"{PICTURES}/{source.id}.png"


def tags_of(path: Path, scale: Scale = FULL, size: Size | None = None) -> GeoTags | None:
    """Return the georeference of a file with upright rows; None for one that has none, and without rasterio.

    `size` is that of the level that was read at a `scale`; what its pixels are in those of the full resolution is
    returned for files without a georeference too.
    """
    tags = _stated_tags(path)
    if size is None or scale == FULL:
        return tags
    full, _ = read_slide_size(path, FULL)
    return (tags or GeoTags("", NOWHERE)).reduced((full[0] / size[0], full[1] / size[1]))


def _stated_tags(path: Path) -> GeoTags | None:
    if path.suffix.lower() in SLIDE_SUFFIXES or importlib.util.find_spec("rasterio") is None:
        return None
    header = read_header(path)
    turned = header is not None and header.orientation != 1
    return None if turned else read_tags(path)


def words_on_tags(sources: Sequence[Source]) -> str | None:
    """Return a line on what GeoTIFFs lose where rasterio is not installed; None if nothing is lost."""
    if importlib.util.find_spec("rasterio") or not any(Path(one.address).suffix.lower() in TIFF for one in sources):
        return None
    return 'without rasterio, what is made of a GeoTIFF is a PNG without its place on Earth: pip install "coatseg[geo]"'
