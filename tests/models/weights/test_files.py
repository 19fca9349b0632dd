from __future__ import annotations

import argparse
import hashlib
import http.server
import threading

import pytest
import timm as timm_library
import torch
from safetensors.torch import save_file

from coatseg.errors import ConfigError, WeightsError
from coatseg.models.backbones.classifier import create_classifier
from coatseg.models.backbones.coat import create_backbone
from coatseg.models.backbones.variants import VARIANTS
from coatseg.models.weights import catalogue
from coatseg.models.weights.files import load_weights, to_authors, to_ours, to_timm
from coatseg.system import download
from coatseg.system.download import RemoteFile


class Anything:
    """An object that only running a pickle could bring back."""


@pytest.fixture(scope="module", params=["coat_tiny", "coat_lite_tiny"])
def classifier(request):
    torch.manual_seed(0)
    model = create_classifier(request.param)
    model.variant_name = request.param
    return model


@pytest.fixture(scope="module")
def lite():
    torch.manual_seed(0)
    return create_classifier("coat_lite_tiny")


def assert_same(model, state):
    """Every parameter of the model is that of the state, and none is left as it was drawn."""
    found = model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in found.items())


# Layouts


def test_the_authors_layout_repeats_shared_modules_under_every_block(classifier):
    ours = classifier.state_dict()
    theirs = to_authors(ours)
    if classifier.variant_name == "coat_tiny":
        assert (len(ours), len(theirs)) == (328, 548)
        for alias in ("parallel_blocks.5.mlp4.fc1.weight", "parallel_blocks.3.factoratt_crpe3.crpe.conv_list.2.bias"):
            assert alias in theirs
    assert theirs["serial_blocks2.1.cpe.proj.weight"] is ours["cpe2.proj.weight"]
    assert theirs["serial_blocks4.0.factoratt_crpe.crpe.conv_list.1.bias"] is ours["crpe4.conv_list.1.bias"]


def test_timms_layout_has_exactly_the_names_of_timms_model(classifier):
    theirs = timm_library.create_model(classifier.variant_name).state_dict()
    found = to_timm(classifier.state_dict())
    assert set(found) == set(theirs)
    assert {name: value.shape for name, value in found.items()} == {name: value.shape for name, value in theirs.items()}


@pytest.mark.parametrize("there", [to_authors, to_timm])
def test_a_layout_maps_back_onto_ours(classifier, there):
    ours = classifier.state_dict()
    back = to_ours(there(ours))
    assert all(torch.equal(value, ours[name]) for name, value in back.items())
    assert set(ours) - set(back) <= {f"norm{stage}.{part}" for stage in (1, 2, 3) for part in ("weight", "bias")}


def test_an_authors_file_loads_into_backbone_and_classifier(classifier, tmp_path):
    path = tmp_path / "authors.pth"
    torch.save({"model": to_authors(classifier.state_dict()), "args": argparse.Namespace(lr=1.0), "epoch": 3}, path)
    assert_same(create_backbone(classifier.variant_name, pretrained=path), classifier.state_dict())
    assert_same(create_classifier(classifier.variant_name, pretrained=str(path)), classifier.state_dict())


@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
def test_a_timm_file_loads_into_backbone_and_classifier(classifier, tmp_path, suffix):
    theirs = timm_library.create_model(classifier.variant_name)
    path = tmp_path / f"model{suffix}"
    if suffix == ".bin":
        torch.save(theirs.state_dict(), path)
    else:  # without the aliases, which safetensors refuses
        save_file(to_ours(theirs.state_dict()), path)
    assert_same(create_backbone(classifier.variant_name, pretrained=path), to_ours(theirs.state_dict()))
    ours = create_classifier(classifier.variant_name, pretrained=path).eval()
    image = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(image), theirs.eval()(image), rtol=1e-4, atol=1e-5)


def test_our_own_state_dict_and_training_checkpoint_load(classifier, tmp_path):
    backbone = create_backbone(classifier.variant_name)
    state = backbone.state_dict()
    torch.save(state, tmp_path / "bare.pt")
    prefixed = {f"model.backbone.{name}": value for name, value in state.items()}
    checkpoint = {"state_dict": {**prefixed, "model.head.weight": torch.zeros(2)}, "epoch": 1}
    torch.save(checkpoint, tmp_path / "last.ckpt")
    for file in ("bare.pt", "last.ckpt"):
        assert_same(create_backbone(classifier.variant_name, pretrained=tmp_path / file), state)


def test_a_detection_checkpoint_without_norms_and_head_loads(lite, tmp_path):
    left_out = ("norm", "aggregate", "head")
    state = {key: value for key, value in to_authors(lite.state_dict()).items() if not key.startswith(left_out)}
    path = tmp_path / "detection.pth"
    detector = {f"backbone.{key}": value for key, value in state.items()} | {"rpn_head.weight": torch.zeros(1)}
    torch.save({"state_dict": detector, "meta": {"epoch": 12}}, path)
    assert_same(create_backbone("coat_lite_tiny", pretrained=path), lite.state_dict())


# Channels


def test_weights_for_one_channel_are_summed(lite, tmp_path):
    torch.save(lite.state_dict(), tmp_path / "w.pth")
    first = create_backbone("coat_lite_tiny", in_channels=1, pretrained=tmp_path / "w.pth").patch_embed1.proj.weight
    torch.testing.assert_close(first, lite.patch_embed1.proj.weight.sum(1, keepdim=True))


def test_weights_for_five_channels_are_repeated_and_scaled(lite, tmp_path):
    torch.save(lite.state_dict(), tmp_path / "w.pth")
    first = create_backbone("coat_lite_tiny", in_channels=5, pretrained=tmp_path / "w.pth").patch_embed1.proj.weight
    assert torch.equal(first, lite.patch_embed1.proj.weight[:, [0, 1, 2, 0, 1]] * 0.6)


# Files that do not fit


def test_missing_unexpected_and_misshaped_keys_are_listed(lite, tmp_path):
    state = lite.state_dict()
    del state["cls_token2"]
    state["surprise"] = torch.zeros(3)
    state["serial_blocks1.0.norm1.bias"] = torch.zeros(7)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError) as caught:
        create_backbone("coat_lite_tiny", pretrained=tmp_path / "w.pth")
    for part in (
        "1 missing: cls_token2",
        "1 unexpected: surprise",
        "1 of another shape: serial_blocks1.0.norm1.bias (7,) in the file, (64,) in the model",
    ):
        assert part in caught.value.what


def test_a_long_list_is_cut_with_the_number_left_out(lite, tmp_path):
    torch.save(lite.state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"\d+ missing: (\S+, ){3}and \d+ more; \d+ of another shape"):
        create_backbone("coat_tiny", pretrained=tmp_path / "w.pth")


def test_a_failed_load_leaves_the_model_as_it_was(lite, tmp_path):
    state = lite.state_dict()
    del state["cls_token2"]
    torch.save(state, tmp_path / "w.pth")
    model = create_backbone("coat_lite_tiny")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(WeightsError):
        load_weights(model, tmp_path / "w.pth")
    assert_same(model, before)


def test_a_classifier_of_other_classes_says_the_shapes_of_its_head(lite, tmp_path):
    torch.save(lite.state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"head\.weight \(1000, 320\) in the file, \(7, 320\) in the model"):
        create_classifier("coat_lite_tiny", pretrained=tmp_path / "w.pth", num_classes=7)


def test_aliases_that_disagree_are_refused(lite, tmp_path):
    state = to_authors(lite.state_dict())
    state["serial_blocks1.1.cpe.proj.bias"] = state["serial_blocks1.1.cpe.proj.bias"] + 1
    torch.save({"model": state}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"cpe1\.proj\.bias and serial_blocks1\.1\.cpe\.proj\.bias"):
        create_backbone("coat_lite_tiny", pretrained=tmp_path / "w.pth")


def test_a_missing_file_is_named():
    with pytest.raises(WeightsError, match=r"There is no weights file nowhere\.pth"):
        create_backbone("coat_lite_tiny", pretrained="nowhere.pth")


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_a_weights_error(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=name):
        create_backbone("coat_lite_tiny", pretrained=tmp_path / name)


def test_a_file_cut_in_half_is_a_weights_error(lite, tmp_path):
    path = tmp_path / "w.pth"
    torch.save(lite.state_dict(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(WeightsError, match=r"w\.pth"):
        create_backbone("coat_lite_tiny", pretrained=path)


def test_a_file_that_would_run_code_is_refused(lite, tmp_path):
    torch.save({"model": lite.state_dict(), "extra": Anything()}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="holds more than tensors"):
        create_backbone("coat_lite_tiny", pretrained=tmp_path / "w.pth")


@pytest.mark.parametrize("content", [[1, 2], {"weight": torch.zeros(1)}])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError):
        create_backbone("coat_lite_tiny", pretrained=tmp_path / "w.pth")


# The catalogue


def test_the_catalogue_has_every_variant_with_a_checksum_where_there_is_one():
    assert set(catalogue.SOURCES) == set(VARIANTS)
    authors, hub = catalogue.SOURCES["coat_lite_medium_384"]
    assert authors.url == "https://vcl.ucsd.edu/coat/pretrained/coat_lite_medium_384x384_f9129688.pth"
    assert authors.checksum == "sha256:f9129688"
    assert hub.url == "https://huggingface.co/timm/coat_lite_medium_384.in1k/resolve/main/pytorch_model.bin"
    assert len({source.name for sources in catalogue.SOURCES.values() for source in sources}) == 16


@pytest.fixture
def published(lite, tmp_path, monkeypatch):
    """A weights file at a file:// address, as the only source of coat_lite_tiny, and an empty cache."""
    path = tmp_path / "published" / "w.pth"
    path.parent.mkdir()
    torch.save({"model": to_authors(lite.state_dict())}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    monkeypatch.setenv("COATSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(
        catalogue.SOURCES, "coat_lite_tiny", (RemoteFile(path.as_uri(), "w.pth", checksum=f"sha256:{digest}"),)
    )
    return path


def cached(tmp_path):
    return sorted(path.name for path in (tmp_path / "cache").glob("*"))


def test_pretrained_weights_are_downloaded_once(lite, published, tmp_path, capsys):
    assert_same(create_backbone("coat_lite_tiny", pretrained=True), lite.state_dict())
    assert cached(tmp_path) == ["w.pth"]
    assert f"({published.stat().st_size / 1e6:.1f} MB)" in capsys.readouterr().err
    published.unlink()
    assert_same(create_backbone("coat_lite_tiny", pretrained=True), lite.state_dict())


def test_a_wrong_checksum_names_both_and_keeps_nothing(published, tmp_path, monkeypatch):
    found = hashlib.sha256(published.read_bytes()).hexdigest()[:8]
    wrong = RemoteFile(published.as_uri(), "w.pth", checksum="sha256:01234567")
    monkeypatch.setitem(catalogue.SOURCES, "coat_lite_tiny", (wrong,))
    with pytest.raises(WeightsError, match=rf"sha256 {found}\.\.\., expected 01234567(.|\n)*backbone\.pretrained=PATH"):
        create_backbone("coat_lite_tiny", pretrained=True)
    assert cached(tmp_path) == []


def test_an_address_out_of_reach_says_what_was_tried_and_what_to_do(published, tmp_path):
    published.unlink()
    with pytest.raises(WeightsError, match=rf"Tried {published.as_uri()} \((.|\n)*backbone\.pretrained=PATH"):
        create_backbone("coat_lite_tiny", pretrained=True)
    assert cached(tmp_path) == []


def test_the_second_address_is_taken_when_the_first_is_out_of_reach(lite, published, tmp_path, monkeypatch):
    sources = (RemoteFile((tmp_path / "gone.pth").as_uri(), "gone.pth"), *catalogue.SOURCES["coat_lite_tiny"])
    monkeypatch.setitem(catalogue.SOURCES, "coat_lite_tiny", sources)
    assert_same(create_backbone("coat_lite_tiny", pretrained=True), lite.state_dict())
    assert cached(tmp_path) == ["w.pth"]


def test_a_variant_without_weights_is_refused():
    with pytest.raises(ConfigError, match="Did you mean coat_tiny"):
        catalogue.fetch("coat_tinny")


@pytest.fixture
def server():
    """A server that promises more than it sends on /cut, and has nothing else."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path != "/cut":
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 400)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_a_download_that_breaks_off_keeps_nothing(server, tmp_path, monkeypatch):
    monkeypatch.setenv("COATSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "PAUSES", (0.0,))
    monkeypatch.setitem(catalogue.SOURCES, "coat_lite_tiny", (RemoteFile(f"{server}/cut", "w.pth"),))
    with pytest.raises(WeightsError, match="broke off after 400 of 1000 bytes"):
        create_backbone("coat_lite_tiny", pretrained=True)
    assert cached(tmp_path) == []


def test_an_address_without_the_file_counts_as_out_of_reach(server, tmp_path, monkeypatch):
    monkeypatch.setenv("COATSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(catalogue.SOURCES, "coat_lite_tiny", (RemoteFile(f"{server}/gone", "w.pth"),))
    with pytest.raises(WeightsError, match="404"):
        create_backbone("coat_lite_tiny", pretrained=True)
