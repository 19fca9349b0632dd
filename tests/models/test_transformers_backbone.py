"""CoaT under heads of transformers: in anybody's code, at any size, saved and loaded."""

import copy

import pytest
import torch
import transformers
from huggingface_hub.errors import StrictDataclassFieldValidationError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoBackbone, AutoConfig, AutoModel

import coatseg
from coatseg.errors import ConfigError, WeightsError
from coatseg.models.backbones.classifier import create_classifier
from coatseg.models.backbones.coat import create_backbone
from coatseg.models.backbones.variants import VARIANTS, Variant
from coatseg.models.transformers_backbone import CoaTBackbone, CoaTConfig
from coatseg.models.weights import catalogue
from coatseg.models.weights.files import to_authors
from tests.contracts.backbone import images
from tests.docs.pages import PAGES, code_blocks
from tests.models.weights.test_files import assert_same

LITE, WHOLE = "coat_lite_small_enough", "coat_small_enough"
NAMED = list(VARIANTS)
STAGES = ["stage1", "stage2", "stage3", "stage4"]
MASK = {
    "hidden_dim": 32,
    "feature_size": 32,
    "mask_feature_size": 32,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "num_attention_heads": 2,
    "encoder_feedforward_dim": 32,
    "dim_feedforward": 32,
    "num_queries": 5,
    "train_num_points": 64,
}
BOX = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "num_queries": 5,
}
UPER = {"hidden_size": 32, "pool_scales": [1, 2], "auxiliary_in_channels": 16, "auxiliary_channels": 16}
HEADS = {
    "Mask2FormerForUniversalSegmentation": ("Mask2FormerConfig", STAGES, MASK),
    "UperNetForSemanticSegmentation": ("UperNetConfig", STAGES, UPER),
    "DetrForObjectDetection": ("DetrConfig", ["stage4"], BOX),
    "DeformableDetrForObjectDetection": ("DeformableDetrConfig", STAGES[1:], {**BOX, "num_feature_levels": 4}),
}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """Register, and have a variant of each kind that is small enough to be tested under large heads."""
    rows = {LITE: Variant((8, 16, 16, 24), (1, 1, 1, 1), (1, 1, 1, 1))}
    rows[WHOLE] = Variant((8, 16, 16, 16), (1, 1, 1, 1), (1, 1, 1, 1), parallel_depth=1)
    for name, row in rows.items():
        monkeypatch.setitem(VARIANTS, name, row)
    coatseg.register_transformers()


def config(variant=LITE, out_features=STAGES, **options):
    return AutoConfig.for_model("coatseg", variant=variant, out_features=list(out_features), **options)


def head(name, variant=LITE, **options):
    kind, features, small = HEADS[name]
    given = {"backbone_config": config(variant, features, **options), "num_labels": 3, **small}
    return getattr(transformers, name)(getattr(transformers, kind)(**given))


def labels(name, height, width):
    """What the head is trained on: two images with an object each."""
    mask = torch.zeros(1, height, width)
    mask[:, : height // 2, : width // 2] = 1
    if "Mask2Former" in name:
        return {"mask_labels": [mask, mask], "class_labels": [torch.tensor([1]), torch.tensor([2])]}
    if "UperNet" in name:
        return {"labels": torch.stack([mask[0].long(), 2 * mask[0].long()])}
    found = {"class_labels": torch.tensor([1]), "boxes": torch.tensor([[0.25, 0.25, 0.5, 0.5]])}
    return {"labels": [found, found]}


def backbone_of(model):
    (found,) = (part for part in model.modules() if isinstance(part, CoaTBackbone))
    return found


def outputs(model, given):
    with torch.no_grad():
        found = model.eval()(given)
    return [value for value in found.to_tuple() if isinstance(value, torch.Tensor)]


def assert_equal(model, other, given):
    for mine, theirs in zip(outputs(model, given), outputs(other, given), strict=True):
        assert torch.equal(mine, theirs)


def alike(drawn, other):
    """Whether two parameters are the same constant, or drawn with the same spread, as far as so few numbers tell."""
    if drawn.numel() < 16:
        return drawn.abs().max() <= 1
    least, most = sorted([drawn.std(correction=0), other.std(correction=0)])
    return abs(drawn.mean() - other.mean()) <= most <= 2.5 * least


# The backbone


def test_a_second_registration_changes_nothing():
    before = AutoBackbone._model_mapping[CoaTConfig], AutoConfig.for_model("coatseg").__class__
    coatseg.register_transformers()
    assert (AutoBackbone._model_mapping[CoaTConfig], AutoConfig.for_model("coatseg").__class__) == before
    assert before == (CoaTBackbone, CoaTConfig)


def test_without_transformers_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("coatseg.system.extras.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'register_transformers\(\) needs transformers(.|\n)*"coatseg\[query\]"'):
        coatseg.register_transformers()


@pytest.mark.parametrize("name", NAMED)
def test_every_variant_states_the_channels_of_its_maps(name):
    with torch.device("meta"):
        model = AutoBackbone.from_config(config(name))
        maps = model(torch.empty(1, 3, 100, 70)).feature_maps
    assert [tuple(image.shape[1:]) for image in maps] == [
        (channels, 100 // stride, 70 // stride) for channels, stride in zip(model.channels, (4, 8, 16, 32), strict=True)
    ]


@pytest.mark.parametrize("variant", [LITE, WHOLE])
def test_maps_are_those_of_our_own_backbone_padded_or_not(variant):
    model = AutoBackbone.from_config(config(variant)).eval()
    ours = create_backbone(variant).eval()
    ours.load_state_dict(model.coat.state_dict())
    given = images(2, 100, 70)
    with torch.no_grad():
        pairs = [*zip(model(given).feature_maps, ours(given), strict=True)]
        sizes = [(100, 70), (64, 33)]
        pairs += zip(model(given, sizes=sizes).feature_maps, ours(given, sizes), strict=True)
        pairs += zip(model(given, return_dict=False)[0], ours(given), strict=True)
    assert all(torch.equal(mine, theirs) for mine, theirs in pairs)


def test_without_a_choice_it_is_the_last_map():
    model = AutoBackbone.from_config(CoaTConfig(variant=LITE))
    assert (model.out_features, model.out_indices, model.channels) == (["stage4"], [3], [24])
    assert [*AutoBackbone.from_config(CoaTConfig(variant=LITE, out_indices=(0, -1))).channels] == [8, 24]


def test_options_reach_coat_and_are_kept_in_its_configuration(tmp_path):
    options = {"in_channels": 5, "drop_path": 0.25, "conv_relative_position": False, "co_scale": "none"}
    model = AutoBackbone.from_config(config(WHOLE, checkpointing=True, **options))
    assert model.coat.crpe2 is None
    assert model.coat.serial_blocks1[0].drop_path == 0.25
    assert model.coat.checkpointing
    assert model.config.num_channels == 5
    model.save_pretrained(tmp_path)
    again = AutoConfig.from_pretrained(tmp_path)
    assert {name: getattr(again, name) for name in options} == options
    assert_equal(model, AutoModel.from_pretrained(tmp_path), images(1, 64, 64, 5))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"variant": "coat_smal"}, ConfigError, "Did you mean coat_small"),
        ({"variant": LITE, "co_scale": "none"}, ConfigError, "CoaT-Lite has no exchange"),
        ({"variant": LITE, "out_features": ["stage5"]}, ValueError, "stage5"),
        ({"variant": LITE, "out_features": ["stage2", "stage1"]}, ValueError, "same order"),
        ({"variant": LITE, "out_indices": [4]}, (ValueError, IndexError), ""),
        ({"variant": LITE, "in_channels": "three"}, StrictDataclassFieldValidationError, "in_channels"),
    ],
)
def test_what_does_not_fit_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        CoaTConfig(**options)


@pytest.mark.parametrize(("name", "value"), [("out_features", STAGES), ("out_indices", [0])])
def test_maps_are_settled_once_it_is_built(name, value):
    model = AutoBackbone.from_config(config(out_features=["stage2"]))
    setattr(model, name, value)
    with pytest.raises(ConfigError, match=r"chosen when it is built(.|\n)*from_pretrained"):
        model(images(1, 64, 64))


def test_images_below_32_pixels_are_refused_with_the_least_size():
    with pytest.raises(ConfigError, match="least legal size is 32x32"):
        AutoBackbone.from_config(config())(images(1, 31, 64))


def test_what_no_chosen_map_needs_is_not_trained_nor_after_loading(tmp_path):
    model = AutoBackbone.from_config(config(WHOLE, ["stage1"]))
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert "coat.patch_embed4.proj.weight" in frozen
    model.save_pretrained(tmp_path)
    again = CoaTBackbone.from_pretrained(tmp_path)
    assert {name for name, parameter in again.named_parameters() if not parameter.requires_grad} == frozen
    wider = CoaTBackbone.from_pretrained(tmp_path, out_features=STAGES)
    assert all(parameter.requires_grad for parameter in wider.parameters())


def test_checkpointing_is_switched_as_in_other_models():
    model = AutoBackbone.from_config(config(WHOLE)).train()
    given = images(1, 64, 64)

    def gradients():
        model.zero_grad()
        sum(image.square().sum() for image in model(given).feature_maps).backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    plain = gradients()
    model.activation_checkpointing_enable()
    assert model.coat.checkpointing
    for mine, theirs in zip(gradients(), plain, strict=True):
        torch.testing.assert_close(mine, theirs)
    model.activation_checkpointing_disable()
    assert not model.coat.checkpointing


# Heads


@pytest.mark.parametrize("name", HEADS)
def test_a_head_trains_on_it_at_any_size(name):
    model = head(name, WHOLE).train()
    loss = model(images(2, 65, 71), **labels(name, 65, 71)).loss
    loss.backward()
    assert loss.isfinite()
    gradients = [parameter.grad for parameter in backbone_of(model).parameters() if parameter.requires_grad]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert sum(gradient.abs().sum() > 0 for gradient in gradients) > 0.8 * len(gradients)


@pytest.mark.parametrize("name", HEADS)
def test_a_head_is_saved_and_loaded_bit_for_bit(name, tmp_path):
    model = head(name)
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    assert_same(again, model.state_dict())
    assert_equal(model, again, images(2, 64, 96))


def test_a_saved_head_gives_its_backbone_to_another(tmp_path):
    model = head("UperNetForSemanticSegmentation")
    model.save_pretrained(tmp_path)
    trained = create_backbone(LITE, pretrained=tmp_path / "model.safetensors")
    assert_same(trained, backbone_of(model).coat.state_dict())
    other = head("DetrForObjectDetection", pretrained=str(tmp_path / "model.safetensors"))
    assert_same(backbone_of(other).coat, trained.state_dict())


def test_the_backbone_alone_is_loaded_with_other_maps(tmp_path):
    model = AutoBackbone.from_config(config())
    model.save_pretrained(tmp_path)
    given = images(1, 70, 100)
    again = AutoModel.from_pretrained(tmp_path, out_features=["stage2", "stage4"])
    assert again.channels == [16, 24]
    with torch.no_grad():
        wanted, maps = model.eval()(given).feature_maps, again(given).feature_maps
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(maps, (wanted[1], wanted[3]), strict=True))


# Weights


@pytest.mark.parametrize("variant", [LITE, WHOLE])
def test_weights_missing_in_a_file_are_initialised_and_others_kept(variant, tmp_path):
    model = AutoBackbone.from_config(config(variant))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7)
    model.save_pretrained(tmp_path)
    kept = {name: value for name, value in load_file(tmp_path / "model.safetensors").items() if "blocks3" in name}
    save_file(kept, tmp_path / "model.safetensors", {"format": "pt"})
    again = CoaTBackbone.from_pretrained(tmp_path)
    fresh = AutoBackbone.from_config(config(variant))
    for name, value in again.state_dict().items():
        if name in kept:
            assert (value == 7).all(), name
            continue
        assert alike(value, fresh.state_dict()[name]), name


def test_a_head_without_the_backbones_weights_has_them_initialised(tmp_path):
    model = head("DetrForObjectDetection")
    model.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    rest = {name: value for name, value in state.items() if ".coat." not in name}
    assert len(rest) < len(state)
    save_file(rest, tmp_path / "model.safetensors", {"format": "pt"})
    again = backbone_of(type(model).from_pretrained(tmp_path))
    assert all(value.isfinite().all() and value.abs().max() < 2 for value in again.state_dict().values())


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Weights of the small variant in the catalogue's cache."""
    monkeypatch.setenv("COATSEG_CACHE", str(tmp_path))
    monkeypatch.setitem(catalogue.SOURCES, LITE, catalogue._sources(LITE, LITE, "00000000"))
    model = create_classifier(LITE)
    torch.save({"model": to_authors(model.state_dict())}, tmp_path / catalogue.SOURCES[LITE][0].name)
    return model.state_dict()


def test_weights_of_the_catalogue_are_what_a_head_starts_from(published):
    assert_same(AutoBackbone.from_config(config(pretrained=True)).coat, published)
    assert_same(backbone_of(head("DetrForObjectDetection", pretrained=True)).coat, published)
    ours = create_backbone(LITE, pretrained=True, in_channels=1)
    assert_same(AutoBackbone.from_config(config(pretrained=True, in_channels=1)).coat, ours.state_dict())


def test_what_was_trained_is_loaded_and_not_what_it_started_from(published, tmp_path):
    model = head("DetrForObjectDetection", pretrained=True)
    with torch.no_grad():
        backbone_of(model).coat.cls_token1.fill_(3)
    model.save_pretrained(tmp_path / "saved")
    (tmp_path / catalogue.SOURCES[LITE][0].name).unlink()  # loading must not look for it
    again = type(model).from_pretrained(tmp_path / "saved")
    assert_same(again, model.state_dict())


def test_weights_that_are_not_there_are_an_error_of_ours():
    with pytest.raises(WeightsError, match=r"no weights file nowhere\.pth"):
        AutoBackbone.from_config(config(pretrained="nowhere.pth"))


def test_a_copied_configuration_keeps_its_choice():
    once = config(WHOLE, STAGES[:2], drop_path=0.1)
    assert copy.deepcopy(once).to_dict() == once.to_dict() == CoaTConfig.from_dict(once.to_dict()).to_dict()


def test_what_the_page_shows_runs():
    (page,) = (page for page in PAGES if page.name == "heads.md")
    (code,) = (block for block in code_blocks(page.read_text()) if "register_transformers" in block)
    code = code.replace("pretrained=True", "pretrained=False")  # the page downloads
    names = {"MASK": MASK}
    exec(code.replace("coat_lite_mini", LITE).replace("num_labels=5", "num_labels=5, **MASK"), names)
    assert isinstance(backbone_of(names["model"]), nn.Module)
