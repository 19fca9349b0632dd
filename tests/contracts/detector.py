import pytest
import torch
from torch import Tensor

from coatseg.errors import ConfigError
from coatseg.models.backbones.coat import CoaT
from coatseg.models.backbones.variants import Variant
from coatseg.models.detector import Detector
from coatseg.models.heads.base import ObjectHead
from coatseg.models.heads.detection.detections import Detections
from coatseg.models.unused_parameters import unused_parameters
from coatseg.structures import InstanceTarget, Level, Size

LEVELS = (Level(4, 8), Level(8, 16), Level(16, 24), Level(32, 32))
SMALL = Variant(channels=(16, 24, 32, 40), mlp_ratios=(2, 2, 2, 2), serial_depths=(1, 1, 1, 1))
CLASSES = 3
SIDE = 96


def objects(boxes: list[list[float]], size: Size = (SIDE, SIDE)) -> InstanceTarget:
    """Objects whose masks fill their boxes, of the classes 0, 1, 2, 0, ..."""
    rows = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    masks = torch.zeros(len(rows), *size, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, rows.int().tolist(), strict=True):
        mask[top:bottom, left:right] = True
    return InstanceTarget(rows, torch.arange(len(rows)) % CLASSES, masks, torch.zeros(len(rows), dtype=torch.bool))


def crowded(count: int) -> InstanceTarget:
    corners = torch.rand(count, 2, generator=torch.Generator().manual_seed(0)) * (SIDE - 20)
    return objects(torch.cat([corners.floor(), corners.floor() + 12], dim=1).tolist())


HARD = {"none": objects([]), "one pixel": objects([[5, 7, 6, 8]]), "a thousand": crowded(1000)}


class DetectorContract:
    """What every detector keeps; a subclass says how a small one is made."""

    masks = False
    steps = 60
    """In how many steps it learns an image by heart."""
    finest = 4
    """The stride of the finest map that it looks at."""

    def make(self, levels: tuple[Level, ...], classes: int) -> ObjectHead:
        raise NotImplementedError

    def detector(self) -> Detector:
        torch.manual_seed(0)
        backbone = CoaT(SMALL)
        return Detector(backbone, self.make(backbone.levels, CLASSES))

    def losses(self, detector: Detector, targets: list[InstanceTarget]) -> dict[str, Tensor]:
        given = detector(torch.randn(len(targets), 3, SIDE, SIDE), None, targets)
        assert isinstance(given, dict)
        return given

    def found(self, detector: Detector, images: Tensor, sizes: list[Size] | None = None) -> list[Detections]:
        with torch.no_grad():
            given = detector.eval()(images, sizes)
        assert isinstance(given, list)
        return given

    @pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bf16"])
    def test_it_trains_on_no_object_on_one_pixel_and_on_a_thousand_objects(self, autocast: bool) -> None:
        detector = self.detector().train()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            losses = self.losses(detector, list(HARD.values()))
        assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in losses.values()), losses
        torch.stack(list(losses.values())).sum().backward()
        missing = [name for name, parameter in detector.named_parameters() if parameter.grad is None]
        assert not missing
        assert all(parameter.grad.isfinite().all() for parameter in detector.parameters() if parameter.grad is not None)

    @pytest.mark.parametrize("name", HARD)
    def test_a_batch_of_such_an_image_alone_leaves_no_parameter_without_a_gradient(self, name: str) -> None:
        detector = self.detector().train()
        torch.stack(list(self.losses(detector, [HARD[name]]).values())).sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in detector.parameters())

    def test_weights_that_are_not_finite_show_in_its_losses(self) -> None:
        detector = self.detector().train()
        next(iter(detector.head.parameters())).data.fill_(torch.nan)
        assert not torch.stack(list(self.losses(detector, [objects([[8, 8, 40, 40]])]).values())).sum().isfinite()

    def test_what_it_finds_is_sorted_float32_and_within_its_image(self) -> None:
        detector = self.detector()
        self.be_bold(detector)
        with torch.autocast("cpu", torch.bfloat16):
            rows = self.found(detector, torch.randn(2, 3, 100, 70), [(100, 70), (40, 33)])
        for row, (height, width) in zip(rows, [(100, 70), (40, 33)], strict=True):
            assert len(row.boxes) == len(row.labels) == len(row.scores) > 0
            assert row.boxes.dtype == row.scores.dtype == torch.float32
            assert ((row.boxes >= 0) & (row.boxes <= torch.tensor([width, height, width, height]))).all()
            assert (row.boxes[:, 2:] >= row.boxes[:, :2]).all()
            assert ((row.labels >= 0) & (row.labels < CLASSES)).all()
            assert (row.scores.diff() <= 0).all()
            if self.masks:
                assert row.masks is not None
                assert row.masks.shape == (len(row.boxes), 1, 28, 28)
                assert ((row.masks >= 0) & (row.masks <= 1)).all()
            else:
                assert row.masks is None

    def test_an_image_is_found_the_same_alone_and_in_a_padded_batch(self) -> None:
        detector = self.detector()
        self.be_bold(detector)
        images = torch.randn(2, 3, 64, 128)
        together = self.found(detector, images, [(64, 60), (64, 128)])
        (alone,) = self.found(detector, images[:1, :, :, :60])
        torch.testing.assert_close(together[0].boxes, alone.boxes, rtol=0, atol=1e-3)
        assert torch.equal(together[0].labels, alone.labels)

    def test_finding_nothing_is_no_error(self) -> None:
        detector = self.detector()
        self.be_shy(detector)
        (row,) = self.found(detector, torch.zeros(1, 3, SIDE, SIDE))
        assert row.boxes.shape == (0, 4)
        assert len(row.labels) == len(row.scores) == 0
        assert (row.masks is not None and row.masks.shape == (0, 1, 28, 28)) if self.masks else row.masks is None

    @pytest.mark.sweep
    def test_it_learns_two_objects_by_heart(self) -> None:
        detector = self.detector().train()
        truth = objects([[8, 8, 40, 40], [48, 50, 90, 92]])
        image = torch.zeros(1, 3, SIDE, SIDE)
        assert truth.masks is not None
        image[0, :2] = truth.masks.float() * 4
        optimizer = torch.optim.AdamW(detector.parameters(), lr=2e-3)
        for _ in range(self.steps):
            losses = detector(image, None, [truth])
            assert isinstance(losses, dict)
            optimizer.zero_grad()
            torch.stack(list(losses.values())).sum().backward()
            torch.nn.utils.clip_grad_norm_(detector.parameters(), 5.0)
            optimizer.step()
        (row,) = self.found(detector, image)
        for box, label in zip(truth.boxes, truth.labels, strict=True):
            best = next(place for place, found in enumerate(row.labels) if found == label)
            assert overlap(row.boxes[best], box) > 0.6

    def test_all_parameters_are_of_use(self) -> None:
        assert unused_parameters(self.detector(), 3) == []

    def test_a_pyramid_whose_strides_do_not_double_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="twice the stride"):
            self.make((Level(4, 8), Level(16, 8), Level(32, 8)), CLASSES)
        with pytest.raises(ConfigError, match=f"from stride {self.finest} on"):
            self.make((Level(16, 8), Level(32, 8)), CLASSES)

    def be_bold(self, detector: Detector) -> None:
        """Have an untrained detector keep whatever it sees."""
        self.set_threshold(detector.head, 0.0)

    def be_shy(self, detector: Detector) -> None:
        self.set_threshold(detector.head, 0.9999)

    def set_threshold(self, head: ObjectHead, score: float) -> None:
        raise NotImplementedError


def overlap(first: Tensor, second: Tensor) -> float:
    width, height = (torch.minimum(first[2:], second[2:]) - torch.maximum(first[:2], second[:2])).clamp(min=0)
    areas = [float((box[2:] - box[:2]).prod()) for box in (first, second)]
    both = float(width * height)
    return both / (sum(areas) - both)
