import math
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from coatseg.data.augmentations.transform import Transform
from coatseg.data.datasets.camvid import CamVid
from coatseg.data.datasets.folder import Folder
from coatseg.data.loading.balance import RareClasses, class_counts
from coatseg.data.loading.module import DataModule
from coatseg.data.loading.sampling import TrainingStream
from coatseg.data.loading.subset import Limited
from coatseg.errors import ConfigError, DatasetError
from coatseg.registry.names import table
from coatseg.structures import DatasetInfo, Sample
from tests.data.generate import COLOURS, painted, write_camvid, write_folder

INFO = DatasetInfo("blocks", ("a", "b", "c", "d"), COLOURS, frozenset({"semantic"}))
COUNTS = np.array([[90, 10, 0, 0], [100, 0, 0, 0], [60, 30, 10, 0]])


class Blocks:
    """Samples whose classes are those of COUNTS; two pixels are ignored."""

    info = INFO

    def __len__(self) -> int:
        return len(COUNTS)

    def __getitem__(self, index: int) -> Sample:
        labels = np.repeat([0, 1, 2, 3, 255], [*COUNTS[index], 2]).astype(np.uint8).reshape(1, 102)
        return Sample(str(index), painted(labels, COLOURS, index), (1, 102), labels)

    def verify(self, index: int) -> None:
        self[index]


def test_counts_leave_out_what_is_ignored() -> None:
    np.testing.assert_array_equal(class_counts(Blocks()), COUNTS)


def test_probabilities_follow_the_formula() -> None:
    # Shares of the 300 labelled pixels: a 250, b 40, c 10; d does not occur.
    weights = [math.exp((1 - share / 300) / 0.5) for share in (250, 40, 10)]
    expected = [weight / sum(weights) for weight in weights]
    assert RareClasses.from_counts(COUNTS, 0.5).probabilities == pytest.approx([*expected, 0])


def test_tiny_temperatures_take_the_rarest_class_that_there_is() -> None:
    assert RareClasses.from_counts(COUNTS, 1e-4).probabilities == pytest.approx([0, 0, 1, 0])
    assert RareClasses.from_counts(np.array([[100, 0]]), 1e-3).probabilities.tolist() == [1, 0]


def test_labels_are_counted_without_the_images(tmp_path: Path) -> None:
    dataset = CamVid(write_camvid(tmp_path), "train")
    for image in (tmp_path / "train").iterdir():
        image.write_bytes(b"")
    counts = class_counts(dataset)
    assert counts.shape == (3, 11)
    assert counts.sum() > 0
    np.testing.assert_array_equal(class_counts(Limited(dataset, 2)), counts[:2])


def test_windows_and_rare_classes_exclude_each_other(tmp_path: Path) -> None:
    windowed = Folder(write_folder(tmp_path), "train", window=[16, 16], windows_per_image=2)
    data = DataModule(
        lambda split: windowed, lambda sample, seed: sample, windowed.info, limit=2, rare_class_temperature=0.1
    )
    data.trainer = SimpleNamespace(accumulate_grad_batches=1, global_step=0, global_rank=0, world_size=1)  # type: ignore[assignment]
    with pytest.raises(ConfigError, match=r"rare_class_temperature counts .* whole images"):
        data.train_dataloader()


def test_draws_hold_their_class_and_come_as_often_as_it_says() -> None:
    rare = RareClasses.from_counts(COUNTS, 0.5)
    draws = [rare.draw(0, 0, position) for position in range(2000)]
    assert all(COUNTS[index, focus] for index, focus in draws)
    shares = Counter(focus for _, focus in draws)
    for focus, probability in enumerate(rare.probabilities):
        assert shares[focus] / 2000 == pytest.approx(probability, abs=0.04)
    of_b = Counter(index for index, focus in draws if focus == 1)
    assert of_b[0] / of_b.total() == pytest.approx(0.5, abs=0.06)


def stream(step: int = 0, rank: int = 0, world_size: int = 1) -> list[object]:
    rare = RareClasses.from_counts(COUNTS, 0.5)
    options = {"batch_size": 2, "seed": 3, "rank": rank, "world_size": world_size}
    return list(TrainingStream(6, first_step=lambda: step, rare_classes=rare, **options))  # type: ignore[arg-type]


def test_the_stream_stays_a_function_of_seed_epoch_and_position() -> None:
    assert stream(step=1) == stream()[1:]
    shares = [stream(rank=rank, world_size=2) for rank in range(2)]
    assert [first + second for first, second in zip(*shares, strict=True)] == stream()  # type: ignore[operator]
    assert stream(step=3) != stream()


def test_data_without_labels_is_refused() -> None:
    with pytest.raises(DatasetError, match="No training sample has a labelled pixel"):
        RareClasses.from_counts(np.zeros((2, 3), np.int64), 0.1)


@pytest.mark.parametrize("kind", ["label map", "layers"])
def test_crops_hold_the_class_that_a_sample_was_drawn_for(kind: str) -> None:
    labels = np.zeros((60, 80), np.uint8)
    labels[0, 79] = 1
    labels[59, 0] = 2
    labels[30, 40] = 3
    layers = np.stack([labels == number for number in range(4)], axis=-1).astype(np.uint8)
    crop = Transform([table("augmentation")["crop"](INFO, size=[9, 7])], INFO)
    for focus in (1, 2, 3):
        truth = {"label_map": labels} if kind == "label map" else {"layers": layers}
        sample = Sample("a", painted(labels, COLOURS, 0), (60, 80), focus=focus, **truth)
        for seed in range(10):
            done = crop(sample, seed)
            shown = done.label_map == focus if done.label_map is not None else done.layers[..., focus] == 1
            assert shown.any()


def test_a_focus_that_the_sample_has_lost_takes_any_window() -> None:
    labels = np.zeros((20, 20), np.uint8)
    crop = Transform([table("augmentation")["crop"](INFO, size=[8, 8])], INFO)
    done = crop(Sample("a", painted(labels, COLOURS, 0), (20, 20), labels, focus=3), 0)
    assert done.image.shape == (8, 8, 3)


@pytest.mark.parametrize("needs", ["boxes", "instances"])
def test_tasks_that_learn_from_objects_are_not_balanced_by_pixels(needs: str) -> None:
    data = DataModule(lambda split: Blocks(), lambda sample, seed: sample, INFO, batch_size=1, needs=needs,
                      rare_class_temperature=0.1)  # fmt: skip
    data.trainer = SimpleNamespace(accumulate_grad_batches=1, global_step=0, global_rank=0, world_size=1)
    with pytest.raises(ConfigError, match="the task learns from objects"):
        data.train_dataloader()
