import pytest
import torch
from torch import Tensor

from coatseg.models.backbones.coat import CoaT
from coatseg.models.backbones.variants import Variant
from coatseg.models.detector import Detector
from coatseg.models.heads.base import ObjectHead, Segments
from coatseg.models.unused_parameters import unused_parameters
from coatseg.structures import Level, PanopticTarget, Size

SMALL = Variant(channels=(16, 24, 32, 40), mlp_ratios=(2, 2, 2, 2), serial_depths=(1, 1, 1, 1))
CLASSES = 4
THINGS = (1, 3)
SIDE = 64

Block = tuple[int, int, int, int]
"""The first row and column of a block of pixels, and those behind its last."""


def segments(blocks: list[tuple[int, Block]], size: Size = (SIDE, SIDE), crowd: int | None = None) -> PanopticTarget:
    """Blocks of a class each, the later above the earlier, with ids that are neither small nor in order."""
    ids = torch.zeros(size, dtype=torch.int32)
    numbers = [70_000 - 11 * place for place in range(len(blocks))]
    for number, (_, (top, left, bottom, right)) in zip(numbers, blocks, strict=True):
        ids[top:bottom, left:right] = number
    return PanopticTarget(
        ids=ids,
        numbers=torch.tensor(numbers, dtype=torch.int32),
        labels=torch.tensor([label for label, _ in blocks], dtype=torch.int64),
        crowd=torch.tensor([place == crowd for place in range(len(blocks))], dtype=torch.bool),
    )


GROUND = (0, (0, 0, SIDE, SIDE))
STREET = segments([GROUND, (2, (40, 0, 64, 64)), (1, (8, 8, 30, 28)), (3, (20, 36, 50, 60))])
TILES = [
    (THINGS[place % 2], (8 * (place // 8), 8 * (place % 8), 8 * (place // 8) + 7, 8 * (place % 8) + 7))
    for place in range(64)
]
HARD = {
    "nothing known": segments([]),
    "only stuff": segments([GROUND]),
    "one pixel": segments([GROUND, (1, (5, 7, 6, 8))]),
    "only a crowd": segments([(3, (0, 0, 30, 30))], crowd=0),
    "many": segments([GROUND, *TILES]),
}


class SegmenterContract:
    """What every head that gives segments keeps; a subclass says how a small one is made."""

    steps = 60
    """In how many steps it learns an image by heart."""
    rate = 2e-3
    """At which learning rate."""

    def make(self, levels: tuple[Level, ...], classes: int, things: tuple[int, ...]) -> ObjectHead:
        raise NotImplementedError

    def model(self) -> Detector:
        torch.manual_seed(0)
        backbone = CoaT(SMALL)
        return Detector(backbone, self.make(backbone.levels, CLASSES, THINGS))

    def losses(
        self,
        model: Detector,
        targets: list[PanopticTarget],
        images: Tensor | None = None,
        sizes: list[Size] | None = None,
    ) -> dict[str, Tensor]:
        torch.manual_seed(0)
        images = torch.randn(len(targets), 3, SIDE, SIDE) if images is None else images
        given = model(images, sizes, targets)
        assert isinstance(given, dict)
        return given

    def found(
        self, model: Detector, images: Tensor, sizes: list[Size] | None = None, scale: float = 1.0
    ) -> list[Segments]:
        """What is found in images, at sizes larger by a factor."""
        each = sizes or [(images.shape[-2], images.shape[-1])] * len(images)
        with torch.no_grad():
            rows = model.eval()(images, sizes)
            return [
                row.segments(size, (int(size[0] * scale), int(size[1] * scale)))
                for row, size in zip(rows, each, strict=True)
            ]

    def test_it_says_what_it_gives_and_looks_at(self) -> None:
        head = self.model().head
        assert "segments" in head.gives
        assert 1 <= head.levels_used <= 4
        assert head.divisor % 32 == 0

    @pytest.mark.parametrize("size", [(32, 32), (100, 70)], ids=str)
    def test_it_trains_and_finds_at_any_size(self, size: Size) -> None:
        model = self.model().train()
        truth = segments([(0, (0, 0, *size)), (1, (4, 4, 20, 18))], size)
        losses = self.losses(model, [truth, truth], torch.randn(2, 3, *size))
        assert all(loss.isfinite() for loss in losses.values())
        for found in self.found(model, torch.randn(2, 3, *size)):
            assert found.ids.shape == size

    @pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bf16"])
    def test_it_trains_on_hard_images_together(self, autocast: bool) -> None:
        model = self.model().train()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            losses = self.losses(model, list(HARD.values()))
        assert all(loss.isfinite() and loss.dtype == torch.float32 and not loss.shape for loss in losses.values()), (
            losses
        )
        assert self.parameters_without_a_gradient(model, losses) == []

    @pytest.mark.parametrize("name", HARD)
    def test_a_batch_of_such_an_image_alone_leaves_no_parameter_without_a_gradient(self, name: str) -> None:
        model = self.model().train()
        assert self.parameters_without_a_gradient(model, self.losses(model, [HARD[name]])) == []

    def parameters_without_a_gradient(self, model: Detector, losses: dict[str, Tensor]) -> list[str]:
        model.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        named = model.named_parameters()
        return [name for name, parameter in named if parameter.grad is None or not parameter.grad.isfinite().all()]

    def test_the_losses_of_an_image_without_truth_teach_nothing(self) -> None:
        model = self.model().train()
        losses = self.losses(model, [HARD["nothing known"]])
        assert {name: loss.item() for name, loss in losses.items()} == dict.fromkeys(losses, 0.0)

    def test_a_crowd_counts_like_void_whatever_it_is_of(self) -> None:
        model, crowd = self.model().train(), (40, 40, 60, 60)
        blocks = [GROUND, (1, (8, 8, 30, 28)), (3, crowd)]
        with_crowd = segments(blocks, crowd=2)
        without = segments(blocks[:2])
        without.ids[40:60, 40:60] = 0
        of_stuff = segments([*blocks[:2], (0, crowd)], crowd=2)
        given, wanted, other = (self.losses(model, [truth]) for truth in (with_crowd, without, of_stuff))
        torch.testing.assert_close(given, wanted)
        torch.testing.assert_close(other, wanted)

    def test_the_order_and_the_numbers_of_segments_do_not_count(self) -> None:
        model, back = self.model().train(), torch.tensor([3, 2, 1, 0])
        ids = STREET.ids.clone()
        ids[STREET.ids == STREET.numbers[3]] = 5
        numbers = STREET.numbers.clone()
        numbers[3] = 5
        turned = PanopticTarget(ids, numbers[back], STREET.labels[back], STREET.crowd[back])
        torch.testing.assert_close(self.losses(model, [turned]), self.losses(model, [STREET]))

    def test_what_lies_in_padding_does_not_count_in_training(self) -> None:
        model = self.model().train()
        truths, sizes = (
            [STREET, segments([(0, (0, 0, 40, 50)), (1, (4, 4, 20, 18))], (40, 50))],
            [(SIDE, SIDE), (40, 50)],
        )
        images = torch.randn(2, 3, SIDE, SIDE)
        other = images.clone()
        other[1, :, 40:], other[1, :, :, 50:] = 9.0, torch.nan
        torch.testing.assert_close(self.losses(model, truths, images, sizes), self.losses(model, truths, other, sizes))

    def test_weights_that_are_not_finite_show_in_its_losses(self) -> None:
        model = self.model().train()
        next(iter(model.head.parameters())).data.fill_(torch.nan)
        assert not torch.stack(list(self.losses(model, [STREET]).values())).sum().isfinite()

    @pytest.mark.parametrize("scale", [1.0, 1.7])
    def test_what_it_finds_are_segments(self, scale: float) -> None:
        sizes = [(60, 50), (33, 64)]
        with torch.autocast("cpu", torch.bfloat16):
            rows = self.found(self.model(), torch.randn(2, 3, 64, 64), sizes, scale)
        for row, (height, width) in zip(rows, sizes, strict=True):
            assert row.ids.shape == (int(height * scale), int(width * scale))
            assert row.ids.dtype == torch.int32
            assert row.labels.dtype == torch.int64
            assert row.scores.dtype == torch.float32
            assert len(row.labels) == len(row.scores)
            assert {number for number in row.ids.unique().tolist() if number} == set(range(1, len(row.labels) + 1))
            assert ((row.labels >= 0) & (row.labels < CLASSES)).all()
            assert ((row.scores >= 0) & (row.scores <= 1)).all()
            stuff = [label for label in row.labels.tolist() if label not in THINGS]
            assert len(stuff) == len(set(stuff))

    def test_an_image_is_found_the_same_alone_and_in_a_padded_batch(self) -> None:
        model, images = self.model(), torch.randn(2, 3, 64, 128)
        together = self.found(model, images, [(64, 60), (64, 128)])
        (alone,) = self.found(model, images[:1, :, :, :60])
        assert torch.equal(together[0].labels, alone.labels)
        assert (together[0].ids == alone.ids).float().mean() > 0.999
        torch.testing.assert_close(together[0].scores, alone.scores, rtol=0, atol=1e-4)

    def test_it_finds_the_same_again(self) -> None:
        model, images = self.model(), torch.randn(1, 3, SIDE, SIDE)
        (first,), (again,) = self.found(model, images), self.found(model, images)
        assert torch.equal(first.ids, again.ids)
        assert torch.equal(first.scores, again.scores)

    def test_its_maps_have_its_strides(self) -> None:
        model = self.model()
        maps = model.head.maps(model.backbone(torch.randn(2, 3, 64, 96)))
        assert [(each.shape[0], *each.shape[-2:]) for each in maps] == [
            (2, 64 // stride, 96 // stride) for stride in model.head.strides
        ]
        assert list(model.head.strides) == sorted(set(model.head.strides))

    def test_all_parameters_are_of_use(self) -> None:
        assert unused_parameters(self.model(), 3) == []

    @pytest.mark.sweep
    def test_it_learns_a_street_by_heart(self) -> None:
        model = self.model().train()
        image = torch.zeros(1, 3, SIDE, SIDE)
        for place, number in enumerate(STREET.numbers):
            image[0, :, STREET.ids == number] = torch.tensor([[place % 2], [place // 2], [1.0]]) * 4 - 2
        optimizer = torch.optim.AdamW(model.parameters(), lr=self.rate)
        for _ in range(self.steps):
            losses = model(image, None, [STREET])
            optimizer.zero_grad()
            torch.stack(list(losses.values())).sum().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
        (found,) = self.found(model, image)
        for number, label in zip(STREET.numbers, STREET.labels, strict=True):
            truth = STREET.ids == number
            overlaps = [
                (truth & (found.ids == place)).sum() / (truth | (found.ids == place)).sum()
                for place, other in enumerate(found.labels.tolist(), 1)
                if other == label
            ]
            assert max(overlaps, default=0) > 0.6
