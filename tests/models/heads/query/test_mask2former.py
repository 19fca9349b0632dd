from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from coatseg.errors import ConfigError
from coatseg.models.heads.query.mask2former import mask2former
from coatseg.models.heads.query.maskformer import maskformer
from coatseg.models.heads.query.masks.found import FindingOptions
from coatseg.models.heads.query.masks.head import MaskHead
from tests.contracts.head import LEVELS, pyramid

transformers = pytest.importorskip("transformers.models.mask2former.modeling_mask2former")


def small(**options: object) -> MaskHead:
    torch.manual_seed(0)
    return mask2former(
        LEVELS,
        5,
        (0, 1),
        "segments",
        **{"queries": 7, "width": 32, "encoder_layers": 2, "decoder_layers": 4, **options},  # type: ignore[arg-type]
    )


def library_predictions(head: MaskHead, maps: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Classes and masks of every layer by transformers' own forward with the head's modules."""
    ours = head.decoder
    decoded = transformers.Mask2FormerPixelDecoder.forward(ours.pixels, maps)
    out = ours.queries(decoded.multi_scale_features, decoded.mask_features)
    classes = [ours.classes(state.transpose(0, 1)) for state in out.intermediate_hidden_states]
    return classes, list(out.masks_queries_logits)


@pytest.mark.parametrize("size", [(64, 96), (32, 32)], ids=str)
def test_every_layer_predicts_what_transformers_predicts_with_the_same_weights(size: tuple[int, int]) -> None:
    head, maps = small().eval(), pyramid(2, *size)
    for layer in head.decoder.pixels.encoder.layers:  # whose initial values would sample every pixel alike
        torch.nn.init.normal_(layer.self_attn.sampling_offsets.weight)
        torch.nn.init.normal_(layer.self_attn.attention_weights.weight)
    with torch.no_grad():
        classes, masks = library_predictions(head, maps)
        ours = head.decoder(maps, True)
        assert len(ours.classes) == len(classes) == 5
        for layer in range(5):
            torch.testing.assert_close(ours.classes[layer], classes[layer], rtol=1e-4, atol=2e-5)
            found = torch.einsum("bqc,bchw->bqhw", ours.embeddings[layer], ours.pixels)
            torch.testing.assert_close(found, masks[layer], rtol=1e-4, atol=1e-4)


def test_the_last_layer_alone_is_the_last_of_all() -> None:
    head, maps = small().eval(), pyramid(1, 64, 64)
    with torch.no_grad():
        every, last = head.decoder(maps, True), head.decoder(maps, False)
    assert torch.equal(every.classes[-1:], last.classes)
    assert torch.equal(every.embeddings[-1:], last.embeddings)


@pytest.mark.parametrize("build", [mask2former, maskformer])
def test_a_width_that_the_heads_of_attention_cannot_share_is_refused(build: Callable[..., MaskHead]) -> None:
    with pytest.raises(ConfigError, match=r"head\.width=40 is no multiple of 32"):
        build(LEVELS, 5, width=40)


@pytest.mark.parametrize("build", [mask2former, maskformer])
@pytest.mark.parametrize(
    ("output", "name"), [("logits", "detections"), ("masks", "score_threshold"), ("segments", "detections")]
)
def test_an_option_of_another_output_is_refused(build: Callable[..., MaskHead], output: str, name: str) -> None:
    changed = FindingOptions(**{name: 0.5 if name == "score_threshold" else 7})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=rf"head\.{name} has no use where the head gives {output}"):
        build(LEVELS, 5, output=output, finding=changed)


@pytest.mark.parametrize("build", [mask2former, maskformer])
def test_without_transformers_the_extra_is_named(
    build: Callable[..., MaskHead], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coatseg.system.extras.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"coatseg\[query\]"):
        build(LEVELS, 5)
