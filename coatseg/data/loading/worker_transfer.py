"""Pass samples from the process that reads them to the one that trains.

They are passed in the bytes that were read, and become batches where they arrive: floats and int64 labels are four and
eight times as large, and filling fresh shared memory takes longer than everything else that is done to a pixel.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from coatseg.data.loading.batching import collate_step
from coatseg.structures import Batch, DatasetInfo, Sample

ALIGNMENT = 64


@dataclass(frozen=True)
class DrawnSamples:
    """The samples of one optimizer step, in `parts` batches, or of one evaluation batch; see Batch for `repeated`."""

    samples: tuple[Sample, ...]
    repeated: tuple[bool, ...]
    info: DatasetInfo
    parts: int = 1

    def batches(self) -> list[Batch]:
        """Return the batches of these samples.

        Raises:
            ImageError: an image has another number of channels, or another pixel type, than the dataset may have.
        """
        return collate_step(self.samples, self.info, self.parts, self.repeated)

    def pin_memory(self) -> list[Batch]:
        """Return the batches in page-locked memory; a loader for an accelerator calls this in a thread of its own."""
        return [batch.pin_memory() for batch in self.batches()]

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with all arrays in one tensor, which PyTorch sends as shared memory."""
        buffers: list[pickle.PickleBuffer] = []
        fields = (self.samples, self.repeated, self.info, self.parts)
        content = pickle.dumps(fields, protocol=5, buffer_callback=buffers.append)
        arrays = [buffer.raw() for buffer in buffers]
        lengths = [array.nbytes for array in arrays]
        starts = [0, *accumulate(length + -length % ALIGNMENT for length in lengths)]
        memory = torch.empty(starts[-1], dtype=torch.uint8)
        places = [slice(start, start + length) for start, length in zip(starts, lengths, strict=False)]
        for array, place in zip(arrays, places, strict=True):
            memory.numpy()[place] = np.frombuffer(array, np.uint8)
        return _arrived, (content, memory, places)


def _arrived(content: bytes, memory: Tensor, places: list[slice]) -> DrawnSamples:
    buffers = [memory.numpy()[place] for place in places]
    return DrawnSamples(*pickle.loads(content, buffers=buffers))
