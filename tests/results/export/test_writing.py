"""An exported file is there only if it computes what the model does; an ONNX file predicts in the model's place."""

import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import nn

import coatseg
from coatseg.commands.export import main
from coatseg.commands.predict import predict_files, read_arguments
from coatseg.config.build import build_task
from coatseg.config.data import build_data
from coatseg.config.read import read
from coatseg.config.restore import ModelRecord
from coatseg.data.images.normalization import normalise
from coatseg.data.loading.batching import collate
from coatseg.errors import CheckpointError, ConfigError, ExportError, OutputError
from coatseg.results.export.facts import EXTRA_FILE
from coatseg.results.export.formats import FORMATS
from coatseg.results.export.onnx_model import restore_onnx
from coatseg.results.export.writing import export
from coatseg.structures import Sample, Size
from coatseg.tasks.base import Task
from coatseg.training.callbacks.checkpoints import RECORD
from tests.conftest import TINY, TINY_SCENES
from tests.results.checkpoints import SEGMENTS

Composed = Callable[..., dict[str, Any]]
SIZES = ((70, 96), (33, 64))
OBJECTS = (
    "task=inst",
    "head=small_mask_rcnn",
    "head.width=16",
    "head.mask_width=8",
    "head.score_threshold=0.0",
    "backbone=coat_lite_tiny",
    "data=scenes_objects",
    *TINY_SCENES[1:],
)


def built(config: dict[str, Any]) -> Task:
    torch.manual_seed(0)
    task = build_task(read(config).task, build_data(read(config)).info, total=1)
    for module in task.modules():  # of zero, as many a head begins, all logits are alike
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.bias, std=0.1)
    return task.eval()


def samples(*sizes: Size) -> list[Sample]:
    random = np.random.default_rng(0)
    return [
        Sample(str(number), random.integers(0, 256, (*size, 3)).astype(np.uint8), size)
        for number, size in enumerate(sizes)
    ]


@pytest.fixture
def semantic(composed: Composed) -> tuple[Task, dict[str, Any]]:
    config = composed(*TINY, "data.evaluation_resize=[48,64]")
    return built(config), config


def test_an_onnx_file_predicts_as_its_model_does(semantic: tuple[Task, dict[str, Any]], tmp_path: Path) -> None:
    task, config = semantic
    exported = export(task, ModelRecord.of(config), "onnx", tmp_path / "a.onnx", sizes=SIZES)
    assert [row.size for row in exported.agreements] == list(SIZES)
    assert exported.compared == 2 * 70 * 96 + 33 * 64
    assert exported.alike == 1
    restored, reading = restore_onnx(tmp_path / "a.onnx", {})
    assert reading == {
        "evaluation_resize": (48, 64), "bands": None, "nodata": None, "level": None, "microns": None
    }  # fmt: skip
    assert restored.info == task.info
    assert list(restored.parameters()) == []
    batch = collate(samples((64, 90), (40, 33)), task.info, [False] * 2)
    for way in (task.inference, replace(task.inference, window=(32, 48)), replace(task.inference, flip=True)):
        task.inference = restored.inference = way
        with torch.no_grad():
            pairs = zip(task.predict(batch), restored.predict(batch), strict=True)
        for ours, found in pairs:
            assert found.id == ours.id
            assert (found.label_map == ours.label_map).float().mean() >= 0.999
            torch.testing.assert_close(found.scores, ours.scores, rtol=1e-3, atol=1e-5)
    windows, _ = restore_onnx(tmp_path / "a.onnx", {"window": [32, 48]})
    assert windows.inference.window == (32, 48)


def test_a_file_with_normalising_takes_pixels_and_says_so(
    semantic: tuple[Task, dict[str, Any]], tmp_path: Path
) -> None:
    task, config = semantic
    export(task, ModelRecord.of(config), "onnx", tmp_path / "a.onnx", preprocess=True, sizes=SIZES)
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["classes"]) == list(task.info.classes)
    assert json.loads(facts["mean"]) == list(task.info.mean)
    assert json.loads(facts["std"]) == list(task.info.std)
    assert facts["task"] == "semantic"
    assert "pixels from 0 to 255" in facts["input"]
    assert "shorter side of 48" in facts["input"]
    (sample,) = samples((50, 61))
    given = sample.image.transpose(2, 0, 1)[None].astype(np.float32)
    batch = collate([sample], task.info, [False])
    with torch.no_grad():
        expected = task.model(batch.images).logits
    (logits,) = session.run(["logits"], {"images": given})
    torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=1e-3, atol=1e-4)
    restored, _ = restore_onnx(tmp_path / "a.onnx", {})
    torch.testing.assert_close(restored.model(batch.images).logits, expected, rtol=1e-3, atol=1e-4)


def test_a_detector_in_onnx_finds_the_same_objects_and_masks(composed: Composed, tmp_path: Path) -> None:
    config = composed(*OBJECTS)
    task = built(config)
    exported = export(task, ModelRecord.of(config), "onnx", tmp_path / "a.onnx", sizes=SIZES)
    assert exported.compared > 0
    assert any("28x28" in line for line in exported.left_out)
    restored, _ = restore_onnx(tmp_path / "a.onnx", {})
    assert coatseg.load(tmp_path / "a.onnx", score_threshold=0.3).task.info == task.info
    together = collate(images := samples((64, 90), (40, 33)), task.info, [False] * 2)
    with torch.no_grad():  # in a padded batch a detector's norms see the padding: the file sees each image alone
        alone = [task.predict(collate([image], task.info, [False]))[0] for image in images]
        pairs = list(zip(alone, restored.predict(together), strict=True))
    for ours, found in pairs:
        assert len(ours) == len(found) > 0
        assert set(found.labels.tolist()) <= set(task.info.things)
        torch.testing.assert_close(found.scores, ours.scores, rtol=0, atol=1e-5)
        nearest = (found.boxes[:, None] - ours.boxes).abs().amax(-1).min(1)
        assert (nearest.values < 1e-3).float().mean() >= 0.95
        same = (found.masks == ours.masks[nearest.indices]).float().flatten(1).mean(1)
        assert (same > 0.999).float().mean() >= 0.95


def test_maps_in_onnx_are_merged_to_the_segments_of_the_model(composed: Composed, tmp_path: Path) -> None:
    config = composed(*SEGMENTS, "head.threshold=0.05", "head.stuff_share=0")
    task = built(config)
    exported = export(task, ModelRecord.of(config), "onnx", tmp_path / "a.onnx", preprocess=True, sizes=SIZES)
    assert exported.compared == 2 * 70 * 96 + 33 * 64
    assert any("merging maps" in line for line in exported.left_out)
    restored, _ = restore_onnx(tmp_path / "a.onnx", {})
    batch = collate(samples((64, 90), (40, 33)), task.info, [False] * 2)
    with torch.no_grad():
        pairs = list(zip(task.predict(batch), restored.predict(batch), strict=True))
    assert any(label in task.info.things for ours, _ in pairs for label in ours.labels.tolist())
    for ours, found in pairs:
        assert len(ours) == len(found) > 1
        assert (ours.ids == found.ids).float().mean() >= 0.999
        assert found.labels.tolist() == ours.labels.tolist()
        torch.testing.assert_close(found.scores, ours.scores, rtol=0, atol=1e-3)


def test_a_head_of_which_no_graph_is_known_says_why(
    composed: Composed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = composed(*SEGMENTS)
    task = built(config)
    monkeypatch.setattr(type(task.model.head), "not_exported", "it asks again")
    with pytest.raises(ConfigError, match=r"panoptic_deeplab cannot be exported: it asks again\.\nPredict with"):
        export(task, ModelRecord.of(config), "onnx", tmp_path / "a.onnx")


def test_a_detector_that_finds_nothing_in_the_scenes_is_compared_by_its_guesses(
    composed: Composed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = composed(*OBJECTS, "head.score_threshold=0.999")
    task = built(config)
    exported = export(task, ModelRecord.of(config), "onnx", tmp_path / "a.onnx", sizes=SIZES[:1])
    assert exported.compared > 0
    assert 0.999 in {vars(part).get("score_thresh") for part in task.model.modules()}
    images = normalise(samples((64, 90))[0].image, task.info)[None]
    assert len(FORMATS["onnx"].run(tmp_path / "a.onnx")(images)[0]) == 0
    plain = FORMATS["onnx"]

    def wrong(path: Path) -> Any:
        run = plain.run(path)
        return lambda images: [found + 50 if place == 0 else found for place, found in enumerate(run(images))]

    monkeypatch.setitem(FORMATS, "onnx", replace(plain, run=wrong))
    with pytest.raises(ExportError, match="does not compute what the model does"):
        export(task, ModelRecord.of(config), "onnx", tmp_path / "b.onnx", sizes=SIZES[:1])


INSTALLED = [name for name, form in FORMATS.items() if all(map(importlib.util.find_spec, form.libraries))]


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name == "torchscript" else pytest.mark.sweep) for name in INSTALLED],
)
def test_every_format_is_written_run_and_compared(
    name: str, semantic: tuple[Task, dict[str, Any]], tmp_path: Path
) -> None:
    task, config = semantic
    output = (tmp_path / "folder" / "a").with_suffix(FORMATS[name].suffix)
    exported = export(task, ModelRecord.of(config), name, output, sizes=SIZES)
    report = json.loads((output.parent / f"{output.name}.json").read_text())
    assert report["largest_difference"] == exported.difference < 1e-4
    assert report["alike"] == exported.alike >= 0.9999
    assert [row["size"] for row in report["sizes"]] == [list(size) for size in SIZES]
    assert report["bytes"] > 1e6
    names = {output.name, f"{output.name}.json", *(output.with_suffix(end).name for end in FORMATS[name].beside)}
    assert {path.name for path in output.parent.iterdir()} == names
    if name == "torchscript":
        files = {EXTRA_FILE: ""}
        torch.jit.load(str(output), _extra_files=files)
        assert json.loads(json.loads(files[EXTRA_FILE])["classes"]) == list(task.info.classes)


def test_a_file_that_computes_something_else_is_an_error_and_not_kept(
    semantic: tuple[Task, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, config = semantic
    plain = FORMATS["torchscript"]

    def wrong(path: Path) -> Any:
        run = plain.run(path)
        return lambda images: [logits.flip(1) for logits in run(images)]

    monkeypatch.setitem(FORMATS, "torchscript", replace(plain, run=wrong))
    with pytest.raises(ExportError, match=r"does not compute what the model does: at 70x96 .* of 13440 pixels agree"):
        export(task, ModelRecord.of(config), "torchscript", tmp_path / "a.pt", sizes=SIZES)
    assert list(tmp_path.glob("*.pt*")) == list(tmp_path.glob(".export*")) == []


def test_a_file_that_fails_is_an_error_and_not_kept(
    semantic: tuple[Task, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, config = semantic

    def failing(*given: object) -> Any:
        raise RuntimeError("no such operator\nand a long listing")

    monkeypatch.setitem(FORMATS, "torchscript", replace(FORMATS["torchscript"], write=failing))
    with pytest.raises(ExportError, match=r"torchscript cannot hold this model: no such operator\n"):
        export(task, ModelRecord.of(config), "torchscript", tmp_path / "a.pt", sizes=SIZES)
    assert list(tmp_path.glob("*.pt*")) == []


def test_what_cannot_be_is_refused_before_anything_is_written(
    composed: Composed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = composed(*OBJECTS)
    task = built(config)
    with pytest.raises(ConfigError, match=r"format=onx is unknown\.\nDid you mean onnx\?.*torchscript"):
        export(task, ModelRecord.of(config), "onx", tmp_path / "a.onnx")
    with pytest.raises(ConfigError, match=r"does not end in \.onnx"):
        export(task, ModelRecord.of(config), "onnx", tmp_path / "a.pt")
    with pytest.raises(ConfigError, match=r"torch_export cannot hold a detector: .*\nChoose onnx, torchscript"):
        export(task, ModelRecord.of(config), "torch_export", tmp_path / "a.pt2")
    (tmp_path / "b.onnx").touch()
    with pytest.raises(ConfigError, match=r"b\.onnx is there already"):
        export(task, ModelRecord.of(config), "onnx", tmp_path / "b.onnx")
    with pytest.raises(OutputError, match="Cannot write"):
        export(task, ModelRecord.of(config), "torchscript", tmp_path / "b.onnx" / "a.pt", sizes=SIZES)
    find = importlib.util.find_spec
    monkeypatch.setattr("coatseg.system.extras.find_spec", lambda name: None if name == "openvino" else find(name))
    with pytest.raises(ConfigError, match=r'needs openvino, .*\npip install "coatseg\[openvino\]"'):
        export(task, ModelRecord.of(config), "openvino", tmp_path / "a.xml")


def test_a_file_that_coatseg_did_not_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"something else")
    with pytest.raises(CheckpointError, match="cannot be read as ONNX"):
        restore_onnx(tmp_path / "a.onnx", {})
    with pytest.raises(CheckpointError, match="There is no file"):
        restore_onnx(tmp_path / "b.onnx", {})
    torch.onnx.export(
        nn.Conv2d(3, 2, 1), (torch.zeros(1, 3, 4, 4),), tmp_path / "c.onnx", dynamo=False, input_names=["images"]
    )
    with pytest.raises(CheckpointError, match="it is no file of coatseg export"):
        restore_onnx(tmp_path / "c.onnx", {})


def test_the_command_writes_compares_and_tells(
    semantic: tuple[Task, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    task, config = semantic
    record = {"config": config, "info": task.info.to_plain()}
    torch.save({"state_dict": task.state_dict(), "global_step": 0, RECORD: record}, tmp_path / "best.ckpt")
    arguments = [f"checkpoint={tmp_path}/best.ckpt", "format=torchscript", "sizes=[[64,64],[33,48]]"]
    monkeypatch.setattr(sys, "argv", ["coatseg", *arguments])
    main()
    out = capsys.readouterr().out
    assert "33x48: 100.0000% of 1584 pixels agree; largest difference" in out
    assert "images are resized to [48, 64] before" in out
    assert f"{tmp_path}/best.pt computes what {tmp_path}/best.ckpt does" in out
    assert (tmp_path / "best.pt").is_file()
    for wrong, words in {
        "format=tflite": "format=tflite is unknown",
        "sizes=[64,64]": "Give [height,width] in pixels",
        "formt=onnx": "formt is no key of coatseg export.\nDid you mean format?",
        "checkpoint=": "Which checkpoint?",
    }.items():
        monkeypatch.setattr(sys, "argv", ["coatseg", arguments[0], wrong])
        with pytest.raises(SystemExit, match="2"):
            main()
        assert words in capsys.readouterr().err


def test_a_folder_is_predicted_from_the_file_as_from_the_checkpoint(
    semantic: tuple[Task, dict[str, Any]], tmp_path: Path
) -> None:
    task, config = semantic
    record = {"config": config, "info": task.info.to_plain()}
    torch.save({"state_dict": task.state_dict(), "global_step": 0, RECORD: record}, tmp_path / "best.ckpt")
    export(task, ModelRecord.of(config), "onnx", tmp_path / "a.onnx", sizes=SIZES[:1])
    (tmp_path / "images").mkdir()
    for sample in samples((50, 70), (64, 40)):
        Image.fromarray(sample.image).save(tmp_path / "images" / f"{sample.id}.png")
    for source in ("checkpoint=best.ckpt", "model=a.onnx"):
        key, _, name = source.partition("=")
        arguments = [f"{key}={tmp_path / name}", f"input={tmp_path}/images", f"output={tmp_path}/{key}", "workers=0"]
        arguments.append("trainer.precision=32-true")
        assert predict_files(read_arguments(arguments)) == 0
    for number in (0, 1):
        ours, found = (
            np.asarray(Image.open(tmp_path / folder / "labels" / f"{number}.png")) for folder in ("checkpoint", "model")
        )
        assert (ours == found).mean() >= 0.999
