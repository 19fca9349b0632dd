import pytest
import torch

from coatseg.errors import ConfigError
from coatseg.models.backbones.coat import CoaT
from coatseg.models.backbones.variants import Variant
from coatseg.models.heads.query.masks.head import MaskHead
from coatseg.models.heads.semantic.base import SemanticHead
from coatseg.models.model import Model
from coatseg.models.unused_parameters import unused_parameters
from coatseg.structures import Level

LEVELS = (Level(4, 8), Level(8, 16), Level(16, 24), Level(32, 32))
SIZES = ((1, 32, 32), (2, 64, 64), (1, 100, 70), (2, 96, 160))
SMALL = Variant(channels=(16, 24, 32, 40), mlp_ratios=(2, 2, 2, 2), serial_depths=(1, 1, 1, 1))


def pyramid(batch: int, height: int, width: int) -> list[torch.Tensor]:
    return [torch.randn(batch, level.channels, height // level.stride, width // level.stride) for level in LEVELS]


class SemanticHeadContract:
    """What every semantic head keeps; a subclass says how a small one is made."""

    stride: int
    """The stride of its logits."""

    used: tuple[int, ...] = (4, 8, 16, 32)
    """The strides of the levels that it reads."""

    def make(self, levels: tuple[Level, ...], classes: int) -> SemanticHead | MaskHead:
        raise NotImplementedError

    def test_it_gives_logits_of_every_class_at_its_stride(self) -> None:
        head = self.make(LEVELS, 5)
        images = torch.randn(2, 3, 2 * head.divisor, 3 * head.divisor)
        logits = head(images, pyramid(2, *images.shape[-2:]))
        assert logits.shape == (2, 5, images.shape[-2] // self.stride, images.shape[-1] // self.stride)

    def test_every_parameter_is_used_and_every_level_that_it_reads(self) -> None:
        head = self.make(LEVELS, 5)
        maps = [level.requires_grad_() for level in pyramid(2, 64, 96)]
        head(torch.randn(2, 3, 64, 96), maps).square().sum().backward()
        unused = [name for name, parameter in head.named_parameters() if parameter.grad is None]
        assert not unused
        gradients = {level.stride: image.grad for level, image in zip(LEVELS, maps, strict=True)}
        assert {stride for stride, gradient in gradients.items() if gradient is not None} == set(self.used)
        assert all(gradients[stride].abs().sum() > 0 for stride in self.used)

    def test_an_image_does_not_depend_on_its_batch(self) -> None:
        head = self.make(LEVELS, 5)
        if isinstance(head, SemanticHead):
            head.dropout.p = 0.0
        maps = pyramid(2, 64, 64)
        together = head.train()(torch.zeros(2, 3, 64, 64), maps)
        alone = head(torch.zeros(1, 3, 64, 64), [level[:1] for level in maps])
        torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize(("batch", "height", "width"), SIZES)
    def test_it_trains_on_a_coat_backbone_at_any_size(self, batch: int, height: int, width: int) -> None:
        backbone = CoaT(SMALL)
        model = Model(backbone, self.make(backbone.levels, 5)).train()
        unused = unused_parameters(model, 3)
        assert bool(unused) == (32 not in self.used)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        logits = model(torch.randn(batch, 3, height, width)).logits
        assert logits.shape == (batch, 5, height, width)
        logits.square().mean().backward()
        assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == unused
        optimizer.step()
        assert all(parameter.isfinite().all() for parameter in model.parameters())

    def test_it_refuses_a_pyramid_of_other_strides(self) -> None:
        with pytest.raises(ConfigError, match="strides"):
            self.make(LEVELS[1:], 5)
