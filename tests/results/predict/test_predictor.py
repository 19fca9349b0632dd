"""A predictor gives what evaluation gives, whatever form its images come in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import lightning
import numpy as np
import pytest
import torch
from PIL import Image

import coatseg
from coatseg.config.data import build_data
from coatseg.config.read import read
from coatseg.errors import CheckpointError, ConfigError, ImageError
from coatseg.results.predict.predictor import Predictor
from coatseg.structures import InstancePrediction, MultilabelPrediction, PanopticPrediction, SemanticPrediction
from coatseg.tasks.evaluation import evaluate
from coatseg.tasks.inference.options import Inference
from coatseg.tasks.multilabel import MultilabelTask
from coatseg.training.callbacks.checkpoints import RECORD
from coatseg.training.trainer import make_trainer
from tests.data.rasters import write_tiff
from tests.data.slides import SIZES, level_pixels, write_svs
from tests.results.checkpoints import OBJECTS, SEGMENTS, SEMANTIC, write_checkpoint
from tests.results.models import blotches, panoptic_predictor, small_predictor

Composed = Callable[..., dict[str, Any]]


class Watch(lightning.Callback):
    """Keeps what an evaluation predicts."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        self.seen += outputs["predictions"]


def evaluated(config: dict[str, Any], predictor: Predictor) -> list[Any]:
    watch = Watch()
    trainer = make_trainer({"accelerator": "cpu", "devices": 1, "precision": "32-true"}, [watch])
    evaluate(trainer, predictor.task, build_data(read(config), "val"), "val")
    predictor.task.eval()
    return watch.seen


@pytest.mark.parametrize(
    "options",
    [
        {"inference": {"window": [32, 48], "overlap": 0.5}},
        {"inference": {"flip": True, "scales": [0.5, 1.0]}, "data": {"evaluation_resize": [48, 80]}},
    ],
    ids=["windows", "views of resized images"],
)
def test_it_predicts_what_evaluation_does(composed: Composed, tmp_path: Path, options: dict[str, Any]) -> None:
    config = composed(*SEMANTIC)
    config["inference"] |= options.get("inference", {})
    config["data"] |= options.get("data", {})
    write_checkpoint(tmp_path / "a.ckpt", config)
    predictor = coatseg.load(tmp_path / "a.ckpt", device="cpu")
    expected = evaluated(config, predictor)
    dataset = build_data(read(config), "val").split("val")
    predicted = predictor([dataset[index].image for index in range(len(dataset))])
    assert len(predicted) == 3
    for one, other in zip(predicted, expected, strict=True):
        assert isinstance(one, SemanticPrediction)
        assert torch.equal(one.label_map, other.label_map)
        torch.testing.assert_close(one.scores, other.scores)
        assert len(one.label_map.unique()) > 1


def test_objects_are_those_of_evaluation_and_a_threshold_leaves_the_surer(composed: Composed, tmp_path: Path) -> None:
    config = composed(*OBJECTS, "data.evaluation_resize=[48,80]")
    write_checkpoint(tmp_path / "a.ckpt", config)
    predictor = coatseg.load(tmp_path / "a.ckpt", device="cpu")
    expected = evaluated(config, predictor)[0]
    image = build_data(read(config), "val").split("val")[0].image
    one = predictor(image)
    assert isinstance(one, InstancePrediction)
    assert len(one) > 1
    for name in ("boxes", "labels", "scores", "masks"):
        assert torch.equal(getattr(one, name), getattr(expected, name))
    least = float(one.scores.median())
    surer = coatseg.load(tmp_path / "a.ckpt", device="cpu", score_threshold=least)(image)
    kept = one.scores >= least
    assert 0 < len(surer) < len(one)
    assert torch.equal(surer.boxes, one.boxes[kept])
    assert torch.equal(surer.masks, one.masks[kept])


def test_segments_are_those_of_evaluation(composed: Composed, tmp_path: Path) -> None:
    config = composed(*SEGMENTS, "data.evaluation_resize=[48,80]", "head.stuff_share=0")
    write_checkpoint(tmp_path / "a.ckpt", config)
    predictor = coatseg.load(tmp_path / "a.ckpt", device="cpu")
    dataset = build_data(read(config), "val").split("val")
    predicted = predictor([dataset[index].image for index in range(len(dataset))])
    for one, other in zip(predicted, evaluated(config, predictor), strict=True):
        assert isinstance(one, PanopticPrediction)
        assert one.ids.shape == (64, 64)
        assert len(one) > 1
        for name in ("ids", "labels", "scores"):
            assert torch.equal(getattr(one, name), getattr(other, name))


def test_segments_below_the_threshold_are_void_and_no_others() -> None:
    image = blotches(40, 56)
    plain = panoptic_predictor()(image)
    threshold = float(plain.scores.median())
    surer = panoptic_predictor(score_threshold=threshold)(image)
    kept = [place for place, score in enumerate(plain.scores.tolist()) if score >= threshold]
    assert 0 < len(surer) == len(kept) < len(plain)
    assert surer.labels.tolist() == plain.labels[kept].tolist()
    for number, place in enumerate(kept, 1):
        assert torch.equal(surer.ids == number, plain.ids == place + 1)
    assert torch.equal(surer.ids > 0, torch.isin(plain.ids, torch.tensor(kept) + 1))


def test_a_batch_of_segments_is_that_of_images_alone() -> None:
    images = [blotches(40, 56), blotches(33, 64, seed=1), blotches(40, 30, seed=2)]
    together = panoptic_predictor(batch_size=3)(images)
    for one, image in zip(together, images, strict=True):
        alone = panoptic_predictor()(image)
        assert torch.equal(one.ids, alone.ids)
        assert torch.equal(one.labels, alone.labels)


def test_models_of_segments_see_whole_images_that_fit_into_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="what finds objects or segments sees whole images, once"):
        panoptic_predictor(Inference(flip=True))
    monkeypatch.setattr("coatseg.results.predict.memory_limit.physical_memory", lambda: 64 * 64 * 256)
    panoptic_predictor()(blotches(64, 64))
    with pytest.raises(ImageError, match=r"0 \(65x64\): 0 GB of memory, and there are 0\.\nCut it into tiles"):
        panoptic_predictor()(blotches(65, 64))
    panoptic_predictor(evaluation_resize=(32, 64))(blotches(65, 64))


def test_maps_that_are_no_numbers_are_an_error() -> None:
    broken = panoptic_predictor()
    torch.nn.init.constant_(broken.task.model.layer.bias, torch.nan)
    with pytest.raises(ImageError, match="0: what the model gives is not finite"):
        broken(blotches(32, 32))


def test_a_window_as_large_as_the_image_is_the_whole_image_exactly() -> None:
    image = blotches(70, 90)
    whole = small_predictor()(image)
    for window in ((70, 90), (512, 512)):
        by_window = small_predictor(Inference(window=window))
        assert by_window.streams
        assert torch.equal(by_window(image).label_map, whole.label_map)
        assert torch.equal(by_window(image).scores, whole.scores)


@pytest.mark.parametrize("resize", [None, (60, 100)], ids=["its size", "resized"])
@pytest.mark.parametrize(
    "views",
    [{"overlap": 0.0}, {"overlap": 0.7}, {"flip": True}, {"flip": True, "scales": (0.75, 1.5)}],
    ids=["apart", "overlapping", "mirrored", "scaled"],
)
def test_streamed_labels_are_those_of_all_logits_at_once(
    views: dict[str, Any], resize: tuple[int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = small_predictor(Inference(window=(40, 32), **views), evaluation_resize=resize)
    image = blotches(130, 75)
    streamed = predictor(image)
    assert len(streamed.label_map.unique()) > 1
    monkeypatch.setattr(Predictor, "streams", False)
    at_once = predictor(image)
    assert torch.equal(streamed.label_map, at_once.label_map)
    torch.testing.assert_close(streamed.scores, at_once.scores)


def test_a_tiff_is_read_by_windows_and_predicted_as_an_array(tmp_path: Path) -> None:
    image = blotches(100, 60)
    path = write_tiff(tmp_path / "a.tif", image, tiled=True, photometric="RGB")
    predictor = small_predictor(Inference(window=(32, 32)))
    opened = predictor._open(path, 0)
    assert opened.pixels is None
    assert torch.equal(predictor(path).label_map, predictor(image).label_map)


@pytest.mark.parametrize("scale", [{"level": 1}, {"microns": 2.0}])
def test_a_slide_is_read_by_windows_at_its_level(tmp_path: Path, scale: dict[str, float]) -> None:
    path = write_svs(tmp_path / "a.svs", compression="deflate")
    predictor = small_predictor(Inference(window=(32, 32)), **scale)
    opened = predictor._open(path, 0)
    assert opened.pixels is None
    assert opened.size == SIZES[1]
    assert torch.equal(predictor(path).label_map, predictor(level_pixels(1)).label_map)
    assert torch.equal(small_predictor(**scale)(path).label_map, small_predictor()(level_pixels(1)).label_map)


def test_every_form_of_an_image_is_the_same_image(tmp_path: Path) -> None:
    predictor = small_predictor()
    image = blotches(40, 64)
    Image.fromarray(image).save(tmp_path / "a.png")
    Image.fromarray(np.dstack([image, np.full((40, 64), 9, np.uint8)])).save(tmp_path / "alpha.png")
    turned = Image.fromarray(np.rot90(image).copy())
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise to be upright
    turned.save(tmp_path / "turned.png", exif=exif)
    expected = predictor(image)
    forms = [
        tmp_path / "a.png",
        str(tmp_path / "alpha.png"),
        tmp_path / "turned.png",
        Image.open(tmp_path / "turned.png"),
        Image.fromarray(image),
        image.astype(np.uint16) * 257,
        (image / np.float32(255)).astype(np.float32),
    ]
    for form in forms:
        assert torch.equal(predictor(form).label_map, expected.label_map), form
    assert [one.id for one in predictor([tmp_path / "a.png", image])] == ["a", "1"]
    grey = image[..., 0]
    assert torch.equal(predictor(grey).label_map, predictor(np.repeat(grey[..., None], 3, 2)).label_map)


@pytest.mark.parametrize("size", [(1, 1), (5, 300)])
def test_odd_sizes_are_predicted_at_their_size(size: tuple[int, int]) -> None:
    assert small_predictor()(blotches(*size)).label_map.shape == size


def test_several_images_at_once_are_those_of_each_alone() -> None:
    images = [blotches(40, 64), blotches(33, 70, seed=1), blotches(64, 64, seed=2)]
    alone = [small_predictor()(image) for image in images]
    together = small_predictor(batch_size=2)(images)
    for one, other in zip(together, alone, strict=True):
        inside = one.scores[:-2, :-2]  # what pads an image reaches into its last pixels here, as coatseg's models avoid
        torch.testing.assert_close(inside, other.scores[:-2, :-2])
        assert one.label_map.shape == other.label_map.shape


def test_several_checkpoints_are_the_mean_of_their_probabilities(composed: Composed, tmp_path: Path) -> None:
    image = torch.randn(1, 3, 64, 64)
    tasks = [write_checkpoint(tmp_path / f"{seed}.ckpt", composed(*SEMANTIC), seed).eval() for seed in (1, 2)]
    paths = [tmp_path / "1.ckpt", tmp_path / "2.ckpt"]
    mean = coatseg.load(paths, device="cpu").task
    with torch.inference_mode():
        expected = sum(task.model(image).logits.softmax(1) for task in tasks) / 2
        torch.testing.assert_close(mean.infer(image).softmax(1), expected)
    assert not torch.allclose(tasks[0].model(image).logits, tasks[1].model(image).logits)


@pytest.mark.parametrize("inference", [Inference(), Inference(window=(32, 32))])
def test_layers_come_at_the_checkpoints_threshold_or_at_another(inference: Inference) -> None:
    for threshold, options in ((0.5, {}), (0.45, {"score_threshold": 0.45})):
        one = small_predictor(inference, task=MultilabelTask, **options)(blotches(40, 64))
        assert isinstance(one, MultilabelPrediction)
        assert torch.equal(one.layers, one.scores > threshold)


def test_pixels_below_a_threshold_are_ignored() -> None:
    image = blotches(64, 64)
    plain = small_predictor()(image)
    least = float(plain.scores.median())
    for inference in (Inference(), Inference(window=(64, 64))):
        surer = small_predictor(inference, score_threshold=least)(image)
        expected = torch.where(plain.scores < least, 255, plain.label_map)
        assert torch.equal(surer.label_map, expected)
        assert (surer.label_map == 255).any()


def test_an_image_larger_than_the_memory_is_refused_and_windows_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coatseg.results.predict.memory_limit.physical_memory", lambda: 64 * 64 * (8 * 4 + 256))
    small_predictor()(blotches(64, 64))
    monkeypatch.setattr("coatseg.results.predict.memory_limit.physical_memory", lambda: 64 * 64 * (8 * 4 + 256) - 1)
    with pytest.raises(ImageError, match=r"inference\.window="):
        small_predictor()(blotches(64, 64))
    assert small_predictor(Inference(window=(32, 32)))(blotches(64, 64)).scores.shape == (64, 64)


def test_pixels_that_are_no_numbers_are_told() -> None:
    image = blotches(40, 60).astype(np.float32)
    image[3, 4, 1] = np.nan
    for inference in (Inference(), Inference(window=(32, 32))):
        with pytest.raises(ImageError, match="Image 0 has pixels that are no numbers"):
            small_predictor(inference)(image)


def test_an_image_of_which_pillow_lost_half_of_the_bits_is_refused(tmp_path: Path) -> None:
    predictor = small_predictor()
    deep = blotches(40, 60).astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / "rgb.png"), deep)
    with Image.open(tmp_path / "rgb.png") as image, pytest.raises(ImageError, match="Image 0 has 16 bit a channel"):
        predictor(image)
    assert predictor(tmp_path / "rgb.png").label_map.shape == (40, 60)


def test_damaged_exif_leaves_the_pixels(tmp_path: Path) -> None:
    image = blotches(40, 64)
    predictor = small_predictor()
    expected = predictor(image).label_map
    for name in ("a.png", "a.webp"):
        Image.fromarray(image).save(tmp_path / name, exif=b"Exif\0\0neither II nor MM", lossless=True)
        assert torch.equal(predictor(tmp_path / name).label_map, expected)
        with Image.open(tmp_path / name) as opened:
            assert torch.equal(predictor(opened).label_map, expected)


def test_wrong_images_are_named() -> None:
    predictor = small_predictor()
    for wrong in (3, np.zeros((2, 3, 4, 5), np.uint8), np.zeros((0, 3), np.uint8), torch.zeros(3, 8, 8)):
        with pytest.raises(ImageError, match="Image 0 is no image"):
            predictor(wrong)
    with pytest.raises(ImageError, match="float64"):
        predictor(np.zeros((8, 8, 3)))
    with pytest.raises(ImageError, match=r"missing\.png"):
        predictor("missing.png")
    with pytest.raises(ConfigError, match="ignore index"):
        small_predictor(classes=300, score_threshold=0.5)


def test_detectors_see_images_whole(composed: Composed, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "a.ckpt", composed(*OBJECTS))
    with pytest.raises(ConfigError, match="what finds objects or segments sees whole images, once"):
        coatseg.load(tmp_path / "a.ckpt", inference={"flip": True})


def test_what_does_not_fit_is_said(composed: Composed, tmp_path: Path) -> None:
    path, objects = tmp_path / "a.ckpt", tmp_path / "objects.ckpt"
    write_checkpoint(path, composed(*SEMANTIC))
    write_checkpoint(objects, composed(*OBJECTS))
    load = coatseg.load
    with pytest.raises(ConfigError, match=r"inference.windw is no option"):
        load(path, inference={"windw": [3, 3]})
    with pytest.raises(ConfigError, match="score_threshold=2"):
        load(path, score_threshold=2)
    with pytest.raises(ConfigError, match="no checkpoint"):
        load([])
    with pytest.raises(CheckpointError, match="differ in their task"):
        load([path, objects])
    with pytest.raises(CheckpointError, match="finds objects"):
        load([objects, objects])


@pytest.mark.parametrize("order", "<>")
def test_pixels_of_either_order_of_bytes_are_predicted_alike(order: str) -> None:
    predictor = small_predictor()
    pixels = np.arange(40 * 48 * 3, dtype=np.uint16).reshape(40, 48, 3) * 11
    assert torch.equal(predictor(pixels.astype(f"{order}u2")).label_map, predictor(pixels).label_map)


def test_a_checkpoint_reads_slides_as_it_was_trained_or_as_it_is_told(composed: Composed, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "slides.ckpt", composed(*SEMANTIC))
    content = torch.load(tmp_path / "slides.ckpt")
    content[RECORD]["config"]["data"]["microns"] = 2.0
    torch.save(content, tmp_path / "slides.ckpt")
    assert coatseg.load(tmp_path / "slides.ckpt").settings["microns"] == 2.0
    assert coatseg.load(tmp_path / "slides.ckpt", level=2).settings["level"] == 2
    assert "microns" not in coatseg.load(tmp_path / "slides.ckpt", level=0).settings


def test_an_onnx_file_takes_no_device_and_no_plugins(tmp_path: Path) -> None:
    for options in ({"device": "cuda"}, {"plugins": ["mine"]}):
        with pytest.raises(ConfigError, match="runs on the CPU"):
            coatseg.load(tmp_path / "a.onnx", **options)
