from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from coatseg.data.loading.batching import collate
from coatseg.models.backbones.coat import CoaT
from coatseg.models.detector import Detector
from coatseg.models.heads.base import without_crowds
from coatseg.models.heads.detection.detections import Detections
from coatseg.models.heads.detection.one_stage import FCOSOptions, fcos
from coatseg.registry.names import make
from coatseg.structures import Batch, DatasetInfo, Instances, InstanceTarget, Sample, Size
from coatseg.tasks.detection import DetectionTask, InstanceTask
from coatseg.training.optimization.optimizers import adamw
from tests.contracts.detector import SMALL

INFO = DatasetInfo(
    "street", ("sky", "car", "tree", "person"), ((0, 0, 0),) * 4, frozenset({"boxes", "instances"}), things=(1, 3)
)


class Recorder(nn.Module):
    """A model that keeps what it is asked, and answers with given detections."""

    def __init__(self, *answers: Detections) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 1)
        self.answers = list(answers)

    def forward(
        self, images: Tensor, sizes: tuple[Size, ...] | None, targets: list[InstanceTarget] | None = None
    ) -> list[Detections] | dict[str, Tensor]:
        self.images, self.sizes, self.targets = images, sizes, targets
        return self.answers if targets is None else {"boxes": self.layer.weight.sum()}


def task(model: nn.Module, kind: type[DetectionTask] = InstanceTask) -> DetectionTask:
    made = kind(model, INFO, optimizer=lambda model: adamw(model, lr=1e-3), schedule=lambda step: 1.0)
    made._trainer = SimpleNamespace(world_size=1, accumulate_grad_batches=1)  # type: ignore[assignment]
    return made


def sample(name: str, size: Size, boxes: list[list[int]], labels: list[int], crowd: list[bool]) -> Sample:
    masks = np.zeros((len(boxes), *size), bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
    rows = np.array(boxes, np.float32).reshape(-1, 4)
    instances = Instances(rows, np.array(labels, np.int64), masks, np.array(crowd, bool))
    return Sample(name, np.zeros((*size, 3), np.uint8), size, instances=instances)


def batch(*samples: Sample) -> Batch:
    return collate(samples, INFO, [False] * len(samples))


def detections(boxes: list[list[float]], labels: list[int], masks: Tensor | None = None) -> Detections:
    scores = torch.linspace(0.9, 0.8, len(labels))
    return Detections(torch.tensor(boxes).reshape(-1, 4), torch.tensor(labels, dtype=torch.int64), scores, masks)


def test_a_head_is_given_things_numbered_from_zero_and_told_which_are_crowds() -> None:
    model = Recorder()
    boxes = [[0, 0, 4, 4], [2, 2, 9, 9], [5, 1, 8, 6]]
    task(model).losses(batch(sample("a", (12, 10), boxes, [3, 1, 1], [False, True, False])))
    (truth,) = model.targets
    assert truth.labels.tolist() == [1, 0, 0]
    assert truth.boxes.tolist() == boxes
    assert truth.crowd.tolist() == [False, True, False]
    objects = without_crowds(truth)
    assert objects.labels.tolist() == [1, 0]
    assert objects.boxes.tolist() == [boxes[0], boxes[2]]
    assert objects.masks.shape == (2, 12, 10)


def test_an_image_of_crowds_alone_is_a_negative() -> None:
    model = Recorder()
    task(model).losses(batch(sample("a", (12, 10), [[0, 0, 4, 4]], [3], [True])))
    objects = without_crowds(model.targets[0])
    assert (len(objects), objects.masks.shape) == (0, (0, 12, 10))


def test_padding_is_told_to_the_model_and_only_where_there_is_any() -> None:
    model = Recorder()
    none, one = ([], [], []), ([[1, 1, 3, 3]], [1], [False])
    task(model).losses(batch(sample("a", (12, 10), *one), sample("b", (8, 16), *none)))
    assert model.sizes == ((12, 10), (8, 16))
    task(model).losses(batch(sample("a", (12, 10), *one)))
    assert model.sizes is None


def test_predictions_come_at_the_original_size_with_the_numbers_of_the_dataset() -> None:
    masks = torch.ones(2, 1, 28, 28)
    model = Recorder(detections([[2.0, 4.0, 8.0, 10.0], [0.0, 0.0, 20.0, 12.0]], [1, 0], masks))
    resized = batch(sample("a", (12, 20), [], [], []))
    shown = Batch(resized.images, resized.sizes, resized.targets, resized.ids, ((24, 60),), (False,))
    (found,) = task(model).predict(shown)
    assert found.boxes.tolist() == [[6.0, 8.0, 24.0, 20.0], [0.0, 0.0, 60.0, 24.0]]
    assert found.labels.tolist() == [3, 1]
    assert (found.id, found.size) == ("a", (24, 60))
    assert found.masks.shape == (2, 24, 60)
    assert found.masks.sum((1, 2)).tolist() == [18 * 12, 24 * 60]


def test_what_is_right_scores_one_and_repeated_images_do_not_count() -> None:
    boxes, masks = [[2.0, 2.0, 10.0, 10.0]], torch.ones(1, 1, 28, 28)
    made = task(Recorder())
    truth = batch(sample("a", (12, 12), [[2, 2, 10, 10]], [1], [False]))
    made.model.answers = [detections(boxes, [0], masks)]
    made.score(made.predict(truth), truth)
    wrong = Batch(truth.images, truth.sizes, truth.targets, ("b",), truth.original_sizes, (True,))
    made.model.answers = [detections([[0.0, 0.0, 1.0, 1.0]], [1], masks)]
    made.score(made.predict(wrong), wrong)
    scores = made.scores()
    assert scores.summary()["box_AP"] == scores.summary()["mask_AP"] == pytest.approx(1.0)
    assert [row[0] for row in scores.table()[1:]] == ["car", "person"]
    made.reset_scores()
    assert np.isnan(made.scores().summary()["box_AP"])


def test_things_are_all_classes_where_a_dataset_tells_none_apart() -> None:
    assert DetectionTask.class_numbers(INFO) == (1, 3)
    assert DetectionTask.class_numbers(DatasetInfo("x", ("a", "b"), ((0, 0, 0),) * 2, frozenset({"boxes"}))) == (0, 1)


@pytest.mark.parametrize("head", ["faster_rcnn", "fcos"])
def test_an_image_is_found_the_same_in_bf16_beyond_pixel_1024(head: str) -> None:
    # bf16 has steps of 8 pixels there: boxes that were coded in it would be multiples of 8.
    torch.manual_seed(0)
    backbone = CoaT(SMALL)
    options = {"width": 16, "score_threshold": 0.0}
    detector = Detector(backbone, make("head", head, options, "head", levels=backbone.levels, classes=2)).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        (found,) = detector(torch.randn(1, 3, 64, 2048))
    far = found.boxes[found.boxes[:, 0] > 1100][:, 0]
    assert len(far) > 3
    assert (far % 8 != 0).any()


def test_a_compiled_detector_compiles_what_is_convolved() -> None:
    backbone = CoaT(SMALL)
    detector = Detector(backbone, fcos(backbone.levels, 2, FCOSOptions(width=16)))
    compiled = []
    for part in (detector.backbone, detector.head.fpn):
        part.compile = lambda *args, part=part, **kwargs: compiled.append(part)
    detector.compile()
    assert compiled == [detector.backbone, detector.head.fpn]
