from __future__ import annotations

import pytest
import timm as timm_library
import torch

from coatseg.errors import ConfigError, WeightsError
from coatseg.models.backbones import timm
from tests.contracts.backbone import BackboneContract, images

SWIN = "swin_tiny_patch4_window7_224"


class TestResNet(BackboneContract):
    def make(self, in_channels=3):
        return timm.create_backbone("resnet18", in_channels=in_channels)

    def test_every_parameter_gets_a_gradient(self, backbone):
        # A ReLU may be dead on random images, so only None counts here.
        maps = backbone(images(2, 64, 96))
        torch.autograd.backward(maps, [torch.randn_like(image) for image in maps])
        assert [name for name, parameter in backbone.named_parameters() if parameter.grad is None] == []


class TestPVT(BackboneContract):
    def make(self, in_channels=3):
        return timm.create_backbone("pvt_v2_b0", in_channels=in_channels)


@pytest.mark.sweep
@pytest.mark.parametrize("model", [SWIN, "convnext_atto", "efficientnet_b0", "hrnet_w18_small", "twins_svt_small"])
class TestOthers(BackboneContract):
    @pytest.fixture(autouse=True)
    def _name(self, model):
        self.model = model

    @pytest.fixture
    def backbone(self, model):
        return self.make().eval()

    def make(self, in_channels=3):
        torch.manual_seed(0)
        return timm.create_backbone(self.model, in_channels=in_channels)


def test_the_maps_are_those_of_timm_without_other_strides():
    backbone = timm.create_backbone("resnet18").eval()
    with torch.no_grad():
        theirs, ours = backbone.model(images(1, 64, 96)), backbone(images(1, 64, 96))
    assert len(theirs) == 5
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs[1:], strict=True))


def test_maps_with_channels_last_are_turned_around():
    backbone = timm.create_backbone(SWIN).eval()
    with torch.no_grad():
        theirs, ours = backbone.model(images(1, 64, 96)), backbone(images(1, 64, 96))
    assert theirs[0].shape == (1, 16, 24, 96)
    assert torch.equal(ours[0], theirs[0].permute(0, 3, 1, 2))
    assert [tuple(image.shape) for image in ours] == [(1, 96, 16, 24), (1, 192, 8, 12), (1, 384, 4, 6), (1, 768, 2, 3)]


def test_depths_count_numbered_blocks():
    depths = timm.create_backbone("resnet18").depths()
    expected = {
        "model.conv1.weight": 0,
        "model.bn1.bias": 0,
        "model.layer1.0.conv1.weight": 1,
        "model.layer2.0.conv1.weight": 3,
        "model.layer2.0.downsample.0.weight": 3,
        "model.layer4.1.bn2.weight": 8,
    }
    assert {name: depths[name] for name in expected} == expected


def test_an_unknown_model_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"Did you mean .*resnet18"):
        timm.create_backbone("resnet_18")


def test_a_model_without_a_pyramid_is_refused():
    with pytest.raises(ConfigError, match=r"strides \[16, 16, 16\], which is no pyramid"):
        timm.create_backbone("vit_tiny_patch16_224")


def test_a_model_built_for_one_size_refuses_others():
    backbone = timm.create_backbone("coat_lite_tiny").eval()
    with torch.no_grad():
        assert len(backbone(images(1, 224, 224))) == 4
        with pytest.raises(ConfigError, match="does not take images of 96x160 pixels"):
            backbone(images(1, 96, 160))


def test_an_option_that_the_model_has_not_is_refused():
    with pytest.raises(ConfigError, match="timm cannot make a backbone of vgg11"):
        timm.create_backbone("vgg11", drop_path=0.1)


@pytest.fixture
def whole_model(tmp_path):
    torch.manual_seed(1)
    model = timm_library.create_model("resnet18")
    path = tmp_path / "resnet18.pth"
    torch.save(model.state_dict(), path)
    return model, path


def test_a_file_of_the_whole_model_is_loaded(whole_model):
    model, path = whole_model
    backbone = timm.create_backbone("resnet18", pretrained=path)
    assert torch.equal(backbone.model.conv1.weight, model.conv1.weight)
    assert torch.equal(backbone.model.layer4[1].conv2.weight, model.layer4[1].conv2.weight)


def test_a_file_is_adapted_to_other_image_channels(whole_model):
    model, path = whole_model
    backbone = timm.create_backbone("resnet18", pretrained=str(path), in_channels=1)
    torch.testing.assert_close(backbone.model.conv1.weight, model.conv1.weight.sum(1, keepdim=True))


def test_a_file_that_lacks_parameters_is_refused_with_their_names(whole_model):
    model, path = whole_model
    state = model.state_dict()
    del state["layer1.0.conv1.weight"]
    torch.save(state, path)
    with pytest.raises(WeightsError, match=r"layer1\.0\.conv1\.weight"):
        timm.create_backbone("resnet18", pretrained=path)


def test_a_missing_file_is_named():
    with pytest.raises(WeightsError, match=r"There is no weights file nowhere\.pth"):
        timm.create_backbone("resnet18", pretrained="nowhere.pth")
