import pytest
import segmentation_models_pytorch as smp
import torch

import coatseg
from coatseg.errors import ConfigError, WeightsError
from coatseg.models.backbones.classifier import create_classifier
from coatseg.models.backbones.coat import STRIDES, create_backbone
from coatseg.models.backbones.variants import VARIANTS
from coatseg.models.weights import catalogue
from coatseg.models.weights.files import to_authors, to_timm
from coatseg.system.download import RemoteFile
from tests.contracts.backbone import images
from tests.models.weights.test_files import assert_same

TINY = "coat_lite_tiny"
ARCHITECTURES = {name: {} for name in smp.MODEL_ARCHITECTURES_MAPPING if name != "dpt"} | {
    "deeplabv3": {"encoder_output_stride": 16}  # 8 is its default
}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """Register for one test only."""
    encoders = smp.encoders
    monkeypatch.setattr(encoders, "hf_hub_download", encoders.hf_hub_download)
    monkeypatch.setattr(encoders, "load_file", encoders.load_file)
    kept = dict(encoders.encoders)
    coatseg.register_smp_encoders()
    yield
    encoders.encoders.clear()
    encoders.encoders.update(kept)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COATSEG_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


@pytest.fixture(params=["authors", "timm"])
def published(request, cache):
    """Weights of coat_lite_tiny in the cache, as they are when they have been downloaded."""
    torch.manual_seed(1)
    model = create_classifier(TINY)
    authors, hub = catalogue.SOURCES[TINY]
    if request.param == "authors":
        torch.save({"model": to_authors(model.state_dict())}, cache / authors.name)
    else:
        torch.save(to_timm(model.state_dict()), cache / hub.name)
    return model.state_dict()


def test_every_variant_is_in_the_table_and_a_second_call_changes_nothing():
    before = dict(smp.encoders.encoders), smp.encoders.hf_hub_download, smp.encoders.load_file
    coatseg.register_smp_encoders()
    assert (smp.encoders.encoders, smp.encoders.hf_hub_download, smp.encoders.load_file) == before
    assert set(VARIANTS) < set(smp.encoders.get_encoder_names())


@pytest.mark.parametrize("name", VARIANTS)
def test_an_encoder_states_the_channels_and_strides_of_its_maps(name):
    encoder = smp.encoders.get_encoder(name).eval()
    given = images(1, 64, 96)
    with torch.no_grad():
        maps = encoder(given)
    assert maps[0] is given
    assert tuple(maps[1].shape) == (1, 0, 32, 48)
    assert [image.shape[1] for image in maps] == encoder.out_channels == [3, 0, *VARIANTS[name].channels]
    assert [64 // image.shape[2] for image in maps[2:]] == list(STRIDES)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_trains_on_it(architecture):
    model = smp.create_model(architecture, TINY, encoder_weights=None, classes=5, **ARCHITECTURES[architecture]).train()
    height, width = (128, 160) if architecture == "pan" else (64, 96)  # smp's PAN needs 8 steps at its coarsest map
    logits = model(images(2, height, width))
    assert logits.shape == (2, 5, height, width)
    logits.square().mean().backward()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in trained)


@pytest.mark.parametrize("name", [TINY, "coat_tiny"])
def test_unet_takes_any_size(name):
    model = smp.create_model("unet", name, encoder_weights=None, classes=5)
    logits = model(images(2, 100, 70))
    assert logits.shape == (2, 5, 100, 70)
    logits.square().mean().backward()


def test_other_architectures_ask_for_multiples_of_the_coarsest_stride():
    model = smp.create_model("fpn", TINY, encoder_weights=None)
    with pytest.raises(RuntimeError, match=r"divisible by 32(.|\n)*\(128, 96\)"):
        model(images(1, 100, 70))


def test_dpt_takes_timms_encoders_only():
    with pytest.raises(ValueError, match="Only Timm encoders are supported for DPT"):
        smp.create_model("dpt", TINY, encoder_weights=None)


@pytest.mark.parametrize(("options", "coarsest"), [({"depth": 3}, 8), ({"depth": 4}, 16), ({"output_stride": 16}, 16)])
@pytest.mark.parametrize("name", [TINY, "coat_tiny"])
def test_an_encoder_of_less_depth_leaves_maps_out_and_freezes_what_only_they_use(name, options, coarsest):
    with torch.no_grad():
        encoder = smp.encoders.get_encoder(name, **options)
    assert encoder.output_stride == coarsest
    maps = encoder(images(2, 64, 96))
    assert [64 // image.shape[2] for image in maps[2:]] == [stride for stride in STRIDES if stride <= coarsest]
    assert [image.shape[1] for image in maps] == encoder.out_channels
    sum((image * torch.randn_like(image)).sum() for image in maps[2:]).backward()
    bare = [name for name, parameter in encoder.named_parameters() if parameter.grad is None]
    assert bare == [name for name, parameter in encoder.named_parameters() if not parameter.requires_grad] != []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 2}, "encoder_depth=2(.|\n)*3, 4 or 5"),
        ({"output_stride": 8}, "encoder_output_stride=8(.|\n)*encoder_output_stride=16"),
    ],
)
def test_what_coat_cannot_be_is_refused_with_what_it_can(options, message):
    with pytest.raises(ConfigError, match=message):
        smp.encoders.get_encoder(TINY, **options)


# Weights


def test_pretrained_weights_come_from_the_catalogues_cache(published):
    encoder = smp.encoders.get_encoder(TINY, weights="imagenet").eval()
    assert_same(encoder, published)
    ours = create_backbone(TINY, pretrained=True).eval()
    with torch.no_grad():
        for one, other in zip(encoder(images(1, 100, 70))[2:], ours(images(1, 100, 70)), strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("channels", [1, 4])
def test_weights_are_adapted_to_other_channels_as_our_own_backbone_does(published, channels):
    model = smp.create_model("unet", TINY, encoder_weights="imagenet", in_channels=channels, classes=5)
    ours = create_backbone(TINY, pretrained=True, in_channels=channels)
    assert_same(model.encoder, ours.state_dict())
    assert model(images(2, 64, 64, channels)).shape == (2, 5, 64, 64)


def test_random_weights_take_other_channels_too():
    encoder = smp.encoders.get_encoder(TINY, in_channels=5)
    assert encoder.out_channels[0] == 5
    assert encoder(images(1, 64, 64, 5))[2].shape == (1, 64, 16, 16)


def test_a_saved_model_of_smp_gives_our_backbone_its_weights(tmp_path):
    model = smp.create_model("fpn", TINY, encoder_weights=None)
    torch.save(model.state_dict(), tmp_path / "model.pth")
    assert_same(model.encoder, create_backbone(TINY, pretrained=tmp_path / "model.pth").state_dict())


def test_weights_out_of_reach_are_an_error_that_says_where_to_put_them(cache, monkeypatch):
    missing = RemoteFile((cache / "gone").as_uri(), "coat_lite_tiny.pth")
    monkeypatch.setitem(catalogue.SOURCES, TINY, (missing,))
    with pytest.raises(WeightsError, match=rf"Tried (.|\n)*as coat_lite_tiny\.pth, into {cache}"):
        smp.encoders.get_encoder(TINY, weights="imagenet")


def test_weights_of_another_name_are_refused_by_smp():
    with pytest.raises(KeyError, match="imagenet"):
        smp.encoders.get_encoder(TINY, weights="ssl")


def test_the_preprocessing_is_imagenets(cache):
    facts = smp.encoders.get_preprocessing_params(TINY)
    assert facts == {
        "input_space": "RGB",
        "input_range": [0, 1],
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }


def test_other_encoders_are_still_fetched_from_the_hub(tmp_path, monkeypatch):
    asked = []
    encoders = smp.encoders
    monkeypatch.setattr(encoders, "hf_hub_download", lambda *given, **options: asked.append((given, options)) or "here")
    monkeypatch.setattr(encoders, "load_file", lambda *given, **options: asked.append((given, options)) or {})
    coatseg.register_smp_encoders()
    assert encoders.hf_hub_download("smp-hub/resnet18.imagenet", filename="model.safetensors", revision="1") == "here"
    assert encoders.load_file("here/model.safetensors", device="cpu") == {}
    assert asked == [
        (("smp-hub/resnet18.imagenet",), {"filename": "model.safetensors", "revision": "1"}),
        (("here/model.safetensors",), {"device": "cpu"}),
    ]
