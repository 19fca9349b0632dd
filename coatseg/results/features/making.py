"""Images to their feature maps as these are stored, batch by batch; what cannot have any is skipped and named."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from coatseg.data.images.sources import Skipped
from coatseg.data.loading.batching import collate
from coatseg.errors import ConfigError, ImageError
from coatseg.results.features.formats import MapArray
from coatseg.results.features.images import FeatureImages
from coatseg.results.features.maps import Extractor, FeatureMaps
from coatseg.results.features.pictures import FeaturePictures
from coatseg.structures import Sample
from coatseg.system.memory import too_large


@dataclass(frozen=True)
class Made:
    """An image and its maps by stride, as they are stored."""

    sample: Sample
    arrays: Mapping[int, MapArray]


class MapMaker:
    """Makes the maps of images by an extractor, in arrays of `dtype`, and draws them if there are `pictures`.

    Images are read by threads, `workers` of them ahead, and `batch_size` go through the network together.
    """

    def __init__(
        self,
        images: FeatureImages,
        extractor: Extractor,
        *,
        dtype: str,
        batch_size: int,
        device: torch.device | str = "cpu",
        autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
        pictures: FeaturePictures | None = None,
        workers: int = 1,
    ) -> None:
        self.images, self.extractor = images, extractor
        self.dtype, self.batch_size = dtype, batch_size
        self.device = device
        self.autocast = autocast
        self.pictures = pictures
        self.workers = workers

    def read(self, index: int) -> Sample | Skipped:
        """Read an image, and skip it if it is too small to have maps."""
        sample = self.images[index]
        if isinstance(sample, Sample):
            height, width = sample.image.shape[:2]
            least = self.extractor.least_size
            if min(height, width) < least:
                reason = f"{sample.file or sample.id} has {height}x{width} pixels; the least is {least}x{least}."
                return Skipped(sample.id, sample.file, reason)
        return sample

    def batches(self, indices: Sequence[int]) -> Iterator[dict[int, Sample | Skipped]]:
        """Read the images of these indices, batch by batch; those that are skipped count."""
        read: dict[int, Sample | Skipped] = {}
        for index, image in zip(indices, _ahead(self.read, indices, self.workers), strict=True):
            read[index] = image
            if len(read) == self.batch_size:
                yield read
                read = {}
        if read:
            yield read

    def made(self, batch: Mapping[int, Sample | Skipped]) -> Iterator[tuple[int, Made | Skipped]]:
        """Return the maps of the images of a batch that have some, and why the others are skipped, in order.

        Raises:
            ConfigError: a map reaches beyond float16.
        """
        made = iter(self._maps([image for image in batch.values() if isinstance(image, Sample)]))
        for index, image in batch.items():
            yield index, image if isinstance(image, Skipped) else next(made)

    def _maps(self, samples: Sequence[Sample]) -> list[Made | Skipped]:
        """Make the maps of images together, or one by one if the memory is too small for that."""
        if not samples:
            return []
        sizes = {sample.id: (sample.image.shape[0], sample.image.shape[1]) for sample in samples}
        try:
            with too_large(sizes, "make the maps of"):
                return self._together(samples)
        except ImageError as error:
            if len(samples) == 1:
                return [Skipped(samples[0].id, samples[0].file, error.what)]
        return [made for sample in samples for made in self._maps([sample])]

    def _together(self, samples: Sequence[Sample]) -> list[Made | Skipped]:
        batch = collate(samples, self.images.info, [False] * len(samples)).to(self.device)
        pictures = self.pictures
        with torch.inference_mode(), self.autocast():  # pictures go through some layers once more
            with nullcontext() if pictures is None else pictures.watching():
                made = self.extractor(batch.images, batch.sizes)
            return [self._stored(number, *each) for number, each in enumerate(zip(samples, made, strict=True))]

    def _stored(self, number: int, sample: Sample, maps: FeatureMaps) -> Made | Skipped:
        """Return the maps of image `number` of the batch as they are stored, and draw them; skip what is not finite."""
        if not all(bool(tensor.isfinite().all()) for tensor in maps.values()):
            count = int((~np.isfinite(sample.image)).any(-1).sum())
            why = f", with NaN or infinity in {count} of its pixels" if count else ""
            return Skipped(sample.id, sample.file, f"{sample.file or sample.id}: its maps are not finite{why}.")
        if self.pictures is not None:
            self.pictures.draw(number, sample, maps)
        return Made(sample, {stride: self._array(tensor, sample) for stride, tensor in maps.items()})

    def _array(self, tensor: torch.Tensor, sample: Sample) -> MapArray:
        array = tensor.to(getattr(torch, self.dtype)).cpu().numpy()
        if not np.isfinite(array).all():
            raise ConfigError(
                f"The maps of {sample.id} reach {tensor.abs().max():.4g}, beyond float16's 65504.",
                "Choose dtype=float32.",
            )
        return np.ascontiguousarray(array)


def _ahead(read: Callable[[int], Any], indices: Sequence[int], workers: int) -> Iterator[Any]:
    """Read in threads, in order and no more than a few images ahead."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Any]] = deque()
        try:
            for index in indices:
                waiting.append(pool.submit(read, index))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
