import pytest
import torch

from coatseg.build import create_backbone
from coatseg.heads.semantic import SemanticHead
from coatseg.model import Model
from coatseg.structures import Level

LEVELS = (Level(4, 8), Level(8, 16), Level(16, 24), Level(32, 32))
SIZES = ((64, 64), (100, 70), (96, 160))


def pyramid(batch: int, height: int, width: int) -> list[torch.Tensor]:
    return [torch.randn(batch, level.channels, height // level.stride, width // level.stride) for level in LEVELS]


class SemanticHeadContract:
    """What every semantic head keeps; a subclass says how a small one is made."""

    def make(self, levels: tuple[Level, ...], classes: int) -> SemanticHead:
        raise NotImplementedError

    def test_it_gives_logits_of_every_class_at_a_stride_that_divides_the_image(self) -> None:
        head = self.make(LEVELS, 5)
        images = torch.randn(2, 3, 2 * head.divisor, 3 * head.divisor)
        logits = head(images, pyramid(2, *images.shape[-2:]))
        assert logits.shape[:2] == (2, 5)
        assert images.shape[-2] % logits.shape[-2] == 0
        assert images.shape[-2] / logits.shape[-2] == images.shape[-1] / logits.shape[-1]

    def test_every_parameter_and_every_level_is_used(self) -> None:
        head = self.make(LEVELS, 5)
        maps = [level.requires_grad_() for level in pyramid(2, 64, 96)]
        head(torch.randn(2, 3, 64, 96), maps).square().sum().backward()
        unused = [name for name, parameter in head.named_parameters() if parameter.grad is None]
        assert not unused
        assert all(level.grad is not None and level.grad.abs().sum() > 0 for level in maps)

    def test_an_image_does_not_depend_on_its_batch(self) -> None:
        head = self.make(LEVELS, 5)
        head.dropout.p = 0.0
        maps = pyramid(2, 64, 64)
        together = head.train()(torch.zeros(2, 3, 64, 64), maps)
        alone = head(torch.zeros(1, 3, 64, 64), [level[:1] for level in maps])
        torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("batch", [1, 2])
    def test_it_trains_on_a_coat_backbone_at_any_size(self, size: tuple[int, int], batch: int) -> None:
        backbone = create_backbone("coat_lite_tiny")
        model = Model(backbone, self.make(backbone.levels, 5)).train()
        logits = model(torch.randn(batch, 3, *size)).logits
        assert logits.shape == (batch, 5, *size)
        logits.square().mean().backward()
        assert all(parameter.grad is not None for parameter in model.parameters())

    def test_it_refuses_a_pyramid_of_other_strides(self) -> None:
        from coatseg.errors import ConfigError

        with pytest.raises(ConfigError, match="strides"):
            self.make(LEVELS[:2], 5)
