"""`coatseg predict`: files to files, each whole or not at all, whatever lies in a folder, whenever it is killed."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

import coatseg
from coatseg.commands import predict
from coatseg.commands.terminal import progress
from coatseg.data.images.reading import read_label_map
from coatseg.data.images.sources import Source
from coatseg.data.images.statements.geotags import read_tags
from coatseg.errors import ConfigError, ImageError, OutputError, RunExistsError
from coatseg.results.predict.canvas import LabelMap
from coatseg.results.predict.opened_image import OpenedImage
from coatseg.results.predict.predictor import Predictor
from coatseg.results.predict.writers import LabelMapWriter, LayersWriter
from coatseg.structures import InstancePrediction
from coatseg.system.fsspec_folders import Place
from coatseg.tasks.inference.options import Inference
from coatseg.tasks.multilabel import MultilabelTask
from tests.conftest import ROOT
from tests.data.rasters import write_tiff
from tests.data.slides import SIZES, write_svs
from tests.results.checkpoints import OBJECTS, SEMANTIC, write_checkpoint
from tests.results.models import blotches, panoptic_predictor, small_predictor

Composed = Callable[..., dict[str, Any]]
Run = Callable[..., int]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Five good images of several formats, and a file that is none."""
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    Image.fromarray(blotches(40, 60)).save(folder / "a.png")
    Image.fromarray(blotches(33, 50, seed=1)).save(folder / "b.jpg")
    Image.fromarray(blotches(40, 60, seed=2)[..., 0]).save(folder / "deep" / "grey.webp", lossless=True)
    Image.fromarray(blotches(40, 60, 4, seed=3)).save(folder / "deep" / "alpha.png")
    Image.fromarray(blotches(20, 70, seed=4)).save(folder / "e.bmp")
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture
def run(tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Predict the folder with a small predictor, made of the options given to it, into `output`."""

    def typed(*arguments: str, output: str = "out", predictor: Predictor | None = None) -> int:
        made = predictor or small_predictor()
        monkeypatch.setattr(predict, "make_predictor", lambda options: made)
        given = [f"input={images}", f"output={tmp_path}/{output}", "trainer.accelerator=cpu", "workers=0"]
        return predict.predict_files(predict.read_arguments([*given, *arguments, "keep_memory=false"]))

    return typed


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_every_image_gets_its_labels_and_its_picture(run: Run, images: Path, tmp_path: Path) -> None:
    assert run("pictures=true") == 0
    out = tmp_path / "out"
    ids = {"a": "a.png", "b": "b.jpg", "deep/grey": "deep/grey.webp", "deep/alpha": "deep/alpha.png", "e": "e.bmp"}
    assert set(contents(out)) == {
        *(f"{kind}/{name}.png" for kind in ("labels", "pictures") for name in ids),
        "predict.json", "legend.png", "skipped.jsonl",
    }  # fmt: skip
    predictor = small_predictor()
    for name, file in ids.items():
        expected = predictor(images / file)
        assert np.array_equal(read_label_map(out / "labels" / f"{name}.png"), expected.label_map.numpy())
        with Image.open(out / "labels" / f"{name}.png") as labels:
            assert labels.mode == "P"
            assert labels.getpalette()[:6] == [0, 10, 20, 1, 10, 20]
        with Image.open(out / "pictures" / f"{name}.png") as picture:
            assert picture.size == expected.label_map.shape[::-1]


def test_a_log_is_told_how_far_it_is(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.0)
    assert run() == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "images/s" in line]
    assert [line.partition(" images,")[0] for line in lines] == [f"predict: {done}/5" for done in range(1, 6)]
    assert lines[-1].endswith("ETA 0:00:00")


def test_broken_files_are_named_and_counted_and_the_others_predicted(
    run: Run, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (images / "a.png").read_bytes()
    (images / "cut.png").write_bytes(whole[: len(whole) // 2])
    (images / "empty.jpg").touch()
    Image.new("L", (2000, 2000)).save(images / "bomb.png")
    assert run("max_pixels=1e6", "batch_size=2", predictor=small_predictor(max_pixels=10**6)) == 3
    said = capsys.readouterr().out
    assert "1 other file is no image and is skipped: notes.txt" in said
    for name in ("cut.png cannot be decoded", "empty.jpg cannot be", "bomb.png states 2000x2000 pixels"):
        assert name in said
    assert "predicted: 5 of 8 images, 3 skipped" in said
    listed = (tmp_path / "out" / "skipped.jsonl").read_text().splitlines()
    assert [Path(json.loads(line)["file"]).name for line in listed] == ["bomb.png", "cut.png", "empty.jpg"]
    for name in ("cut.png", "empty.jpg", "bomb.png"):
        (images / name).unlink()
        Image.fromarray(blotches(20, 30)).save(images / name)
    assert run("resume=true", "max_pixels=1e6", "batch_size=2", predictor=small_predictor(max_pixels=10**6)) == 0
    assert (tmp_path / "out" / "skipped.jsonl").read_text() == ""
    assert len(list((tmp_path / "out" / "labels").rglob("*.png"))) == 8


def test_only_a_name_that_no_output_may_have_is_skipped(
    run: Run, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(blotches(20, 30)).save(images / f"{'x' * 251}.bmp")
    (images / f"{'x' * 251}.bmp").rename(images / f"{'x' * 251}.tif")
    for name in (f"{'y' * 250}.jpg", f"{'y' * 250}.png"):  # which keep their suffixes, as their stems are the same
        Image.fromarray(blotches(20, 30)).save(images / name)
    assert run("pictures=true") == 2
    assert capsys.readouterr().out.count("File name too long.") == 2
    labels = {path.name for path in (tmp_path / "out" / "labels").iterdir()}
    assert {f"{'x' * 251}.png", "a.png"} < labels
    assert run("pictures=true", "resume=true") == 2


def test_an_image_that_cannot_be_predicted_leaves_the_others_of_its_batch(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = Predictor.results

    def refusing(self: Predictor, images: Sequence[OpenedImage]) -> list[Any]:
        if any(image.id == "b" for image in images):
            raise ImageError("b.jpg has a damaged tile.", "Copy it again.")
        return results(self, images)

    monkeypatch.setattr(Predictor, "results", refusing)
    assert run("batch_size=4", predictor=small_predictor(Inference(window=(32, 32)), batch_size=4)) == 1
    assert "skipped: b.jpg has a damaged tile." in capsys.readouterr().out
    labels = tmp_path / "out" / "labels"
    assert {path.stem for path in labels.rglob("*.png")} == {"a", "alpha", "grey", "e"}


def test_more_processes_than_images(composed: Composed, images: Path, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "a.ckpt", composed(*SEMANTIC))
    words = [f"checkpoint={tmp_path}/a.ckpt", f"input={images}/a.png", f"output={tmp_path}/out", "workers=0"]
    program = [sys.executable, "-c", "from coatseg.commands import main; main()", "predict", *words]
    devices = ["trainer.accelerator=cpu", "trainer.devices=2", "keep_memory=false"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}  # which the second process needs as well
    done = subprocess.run([*program, *devices], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "labels" / "a.png").is_file()


def test_an_output_that_fails_is_one_error_of_all_processes(composed: Composed, images: Path, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "a.ckpt", composed(*SEMANTIC))
    words = [f"checkpoint={tmp_path}/a.ckpt", f"input={images}/*", f"output={tmp_path}/out", "workers=0"]
    fails = (
        "from coatseg.commands.predict import main\n"
        "from coatseg.errors import OutputError\n"
        "from coatseg.results.predict.writers import LabelMapWriter\n"
        "whole = LabelMapWriter.write\n"
        "def write(self, source, *others):\n"
        "    if source.id == 'b':\n"
        "        raise OutputError('Cannot write b: No space left on device.', 'Free some space')\n"
        "    whole(self, source, *others)\n"
        "LabelMapWriter.write = write\n"
        "main()\n"
    )
    (tmp_path / "fails.py").write_text(fails)
    program = [sys.executable, str(tmp_path / "fails.py"), *words]
    devices = ["trainer.accelerator=cpu", "trainer.devices=2", "keep_memory=false"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*program, *devices], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("error:") == 1
    assert "Cannot write b" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_runs_never_share_an_output(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with Place(tmp_path / "out").alone(), pytest.raises(RunExistsError, match=r"Another run is writing to .*out"):
        run()
    assert run() == 0
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_weights_that_are_no_numbers_are_told(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for inference in (Inference(), Inference(window=(32, 32))):
        broken = small_predictor(inference)
        torch.nn.init.constant_(broken.task.model.layer.bias, torch.nan)
        assert run(output=f"out{inference.plain}", predictor=broken) == 5
        assert "a: what the model gives is not finite" in capsys.readouterr().out


def test_a_thin_picture_is_not_thinned_away(run: Run, images: Path, tmp_path: Path) -> None:
    for size in ((2, 5000), (5000, 1)):
        Image.fromarray(blotches(*size)).save(images / f"{size[0]}.png")
    assert run("pictures=true") == 0
    with Image.open(tmp_path / "out" / "pictures" / "2.png") as picture:
        assert picture.size == (1666, 1)


def test_classes_whose_names_become_one_folder_have_one_each(tmp_path: Path) -> None:
    info = replace(small_predictor().info, classes=("a/b", "a_b", "c", "A_b"))
    folders = LayersWriter(Place(tmp_path), info).class_folders
    assert folders == ["labels/a_b_0", "labels/a_b_1", "labels/c_2", "labels/A_b_3"]


def test_skipped_files_make_the_exit_code_one(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "make_predictor", lambda options: small_predictor())
    arguments = [f"input={images}", f"output={tmp_path}/out", "trainer.accelerator=cpu", "workers=0"]
    monkeypatch.setattr(sys, "argv", ["predict.py", *arguments, "keep_memory=false"])
    predict.main()
    (images / "empty.jpg").touch()
    monkeypatch.setattr(sys, "argv", ["predict.py", *arguments, "keep_memory=false", "resume=true"])
    with pytest.raises(SystemExit) as left:
        predict.main()
    assert left.value.code == 1


@pytest.mark.parametrize("killed_at", [0, 1, 4, 9])
@pytest.mark.parametrize(
    "made",
    [partial(small_predictor, Inference(window=(24, 24)), batch_size=2), partial(panoptic_predictor, batch_size=2)],
    ids=["labels", "segments"],
)
def test_a_resumed_output_is_that_of_an_unbroken_run(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Callable[[], Predictor], killed_at: int
) -> None:
    run("pictures=true", output="unbroken", predictor=made())
    writes = iter(range(killed_at))
    replaced = Path.replace

    def killed(path: Path, target: Path) -> Path:
        if next(writes, None) is None:
            raise RuntimeError("killed")
        return replaced(path, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(RuntimeError, match="killed"):
        run("pictures=true", predictor=made())
    monkeypatch.setattr(Path, "replace", replaced)
    for name in (".predict.json.abcd1234", "labels/.a.png.abcd1234"):  # what a process leaves that cannot clean up
        if (tmp_path / "out" / name).parent.is_dir():
            (tmp_path / "out" / name).touch()
    run("pictures=true", "resume=true", predictor=made())
    assert contents(tmp_path / "out") == contents(tmp_path / "unbroken")


def test_what_is_done_is_skipped(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "labels").rglob("*.png")}
    (tmp_path / "out" / "labels" / "b.png").unlink()
    run("resume=auto")
    assert "predicted: 1 of 5 images, 4 had been done" in capsys.readouterr().out
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "labels").rglob("*.png")}
    assert {path.name for path in before if before[path] != after[path]} == {"b.png"}


@pytest.mark.parametrize(
    "made",
    [small_predictor, partial(small_predictor, task=MultilabelTask), panoptic_predictor],
    ids=["labels", "layers", "segments"],
)
def test_the_output_may_be_any_address(run: Run, tmp_path: Path, made: Callable[[], Predictor]) -> None:
    away = fsspec.filesystem("memory")
    away.store.clear()
    away.pseudo_dirs[:] = [""]
    for output in ("memory://away", str(tmp_path / "here")):
        assert run(f"output={output}", "pictures=true", predictor=made()) == 0
    sent = {name.removeprefix("/away/"): hashlib.sha256(away.cat_file(name)).hexdigest() for name in away.find("/away")}
    assert sent == contents(tmp_path / "here")
    away.rm(next(name for name in away.find("/away") if "/labels/" in name or "/panoptic/" in name))
    run("output=memory://away", "pictures=true", "resume=true", predictor=made())
    assert {name.removeprefix("/away/") for name in away.find("/away")} == set(sent)
    with pytest.raises(RunExistsError, match=r"memory://away has predict\.json already"):
        run("output=memory://away")


def test_an_output_is_never_mixed(run: Run, tmp_path: Path) -> None:
    run()
    with pytest.raises(RunExistsError, match="resume=true"):
        run()
    with pytest.raises(RunExistsError, match=r"was begun with batch_size=1, and this is 2"):
        run("resume=true", predictor=small_predictor(batch_size=2))
    (tmp_path / "own" / "labels").mkdir(parents=True)
    with pytest.raises(RunExistsError, match="has labels already"):
        run("resume=true", output="own")


def test_an_output_that_cannot_be_written_stops_at_once(run: Run, images: Path) -> None:
    with pytest.raises(OutputError, match="Cannot write"):
        run(output="images/a.png/out")
    with pytest.raises(OutputError, match="is a file"):
        run(output="images/a.png")
    assert len(list(images.rglob("*"))) == 7


def test_a_geotiff_becomes_a_geotiff_at_its_place(run: Run, images: Path, tmp_path: Path) -> None:
    from rasterio import Affine

    place = {"crs": "EPSG:32632", "transform": Affine(0.5, 0, 300000, 0, -0.5, 5000000), "photometric": "RGB"}
    image = blotches(50, 40)
    write_tiff(images / "map.tif", image, tiled=True, **place)
    write_tiff(images / "plain.tif", image, photometric="RGB")
    assert run(predictor=small_predictor(Inference(window=(32, 32)))) == 0
    labels = tmp_path / "out" / "labels"
    assert read_tags(labels / "map.tif") == read_tags(images / "map.tif")
    assert np.array_equal(read_label_map(labels / "map.tif"), read_label_map(labels / "plain.png"))


def test_slides_have_labels_of_the_level_s_size(
    run: Run, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_svs(images / "a.svs")
    write_svs(images / "bare.svs", microns=None)
    assert (
        run("input=" + str(images / "*.svs"), predictor=small_predictor(Inference(window=(32, 32)), microns=2.0)) == 1
    )
    assert read_label_map(tmp_path / "out" / "labels" / "a.png").shape == SIZES[1]
    assert "bare.svs does not state its microns a pixel; it has 0: 301x405; 1: 75x101" in capsys.readouterr().out


def test_polygons_of_a_level_of_a_slide_are_in_pixels_of_the_full_resolution(
    run: Run, images: Path, tmp_path: Path
) -> None:
    write_svs(images / "a.svs")
    for level in (0, 2):
        assert (
            run(f"input={images}/a.svs", "for=geojson", output=str(level), predictor=small_predictor(level=level)) == 0
        )
        content = json.loads((tmp_path / str(level) / "polygons" / "a.geojson").read_text())
        corners = np.concatenate([row["geometry"]["coordinates"][0] for row in content["features"]])
        assert corners.max(0).tolist() == pytest.approx(SIZES[0][::-1])
        assert run(f"input={images}/a.svs", output=f"labels{level}", predictor=small_predictor(level=level)) == 0
        assert read_label_map(tmp_path / f"labels{level}" / "labels" / "a.png").shape == SIZES[level]


def test_a_level_is_an_argument() -> None:
    options = predict.read_arguments(["checkpoint=a.ckpt", "input=in", "output=out", "level=1", "microns=0.5"])
    assert (options["level"], options["microns"]) == (1, 0.5)


def test_a_level_of_a_geotiff_keeps_its_place(run: Run, images: Path, tmp_path: Path) -> None:
    import rasterio
    from rasterio.enums import Resampling

    transform = rasterio.Affine(0.5, 0, 300000, 0, -0.25, 5000000)
    place = {"crs": "EPSG:32632", "transform": transform, "photometric": "RGB"}
    write_tiff(images / "map.tif", blotches(96, 64), tiled=True, **place)
    with rasterio.open(images / "map.tif", "r+") as raster:
        raster.build_overviews([2], Resampling.nearest)
    assert run(f"input={images}/map.tif", predictor=small_predictor(level=1)) == 0
    tags = read_tags(tmp_path / "out" / "labels" / "map.tif")
    assert tags.transform == (1.0, 0, 300000, 0, -0.5, 5000000)
    assert read_label_map(tmp_path / "out" / "labels" / "map.tif").shape == (48, 32)


def test_what_a_geotiff_loses_without_rasterio_is_said(
    run: Run, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    run()
    assert "rasterio" not in capsys.readouterr().out
    write_tiff(images / "map.tif", blotches(50, 40), photometric="RGB")
    assert run(output="two") == 0
    assert 'a PNG without its place on Earth: pip install "coatseg[geo]"' in capsys.readouterr().out
    assert (tmp_path / "two" / "labels" / "map.png").is_file()


def test_layers_are_read_back_as_a_dataset_of_layers(run: Run, images: Path, tmp_path: Path) -> None:
    assert run(predictor=small_predictor(task=MultilabelTask)) == 0
    expected = small_predictor(task=MultilabelTask)(images / "a.png").layers.numpy()
    for number in range(4):
        layer = read_label_map(tmp_path / "out" / "labels" / f"class {number}" / "a.png")
        assert np.array_equal(layer, expected[number] * 255)


def test_more_than_256_classes_are_16_bit(tmp_path: Path) -> None:
    info = small_predictor(classes=300).info
    labels = np.array([[0, 299], [256, 7]], np.uint16)
    LabelMapWriter(Place(tmp_path), info).write(Source("a", "a.png", "a.png"), LabelMap("a", labels), None)
    read = read_label_map(tmp_path / "labels" / "a.png")
    assert read.dtype == np.uint16
    assert np.array_equal(read, labels)


def test_a_class_of_a_checkpoint_cannot_name_a_folder_elsewhere(tmp_path: Path) -> None:
    info = small_predictor(classes=3).info
    info = type(info)(**{**vars(info), "classes": ("../../a", "..", "b\0c")})
    folders = LayersWriter(Place(tmp_path), info).class_folders
    assert folders == ["labels/.._.._a", "labels/1", "labels/b_c"]


def test_a_large_picture_is_shrunk_by_a_whole_factor(run: Run, images: Path, tmp_path: Path) -> None:
    Image.fromarray(blotches(30, 2100)).save(images / "wide.png")
    run("pictures=true")
    with Image.open(tmp_path / "out" / "pictures" / "wide.png") as picture:
        assert picture.size == (1050, 15)


class Touch:
    """An object that touches a file when a pickle is run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["pickle", "torch", "weights", "record", "text", "missing", "damaged"])
def test_a_checkpoint_that_is_not_ours_is_refused_and_runs_nothing(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    path, touched = tmp_path / "x.ckpt", tmp_path / "touched"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Touch(touched)))
    elif kind == "torch":
        torch.save({"state_dict": Touch(touched), "coatseg": {}}, path)
    elif kind == "weights":
        torch.save({"weight": torch.zeros(1)}, path)
    elif kind == "record":
        torch.save({"state_dict": {}, "coatseg": {"config": {"data": 3}, "info": {}}}, path)
    elif kind == "damaged":
        torch.save({"state_dict": {"a": torch.zeros(1000)}, "coatseg": {}}, path)
        content = path.read_bytes()
        path.write_bytes(content.replace(bytes(200), bytes([7] * 200), 1))
    elif kind == "text":
        path.write_text("no checkpoint")
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["predict.py", f"checkpoint={path}", f"input={images}", f"output={out}"])
    with pytest.raises(SystemExit) as left:
        predict.main()
    said = capsys.readouterr().err
    assert left.value.code == 2
    assert said.startswith("error: ")
    assert len(said.strip().splitlines()) <= 2
    assert not touched.exists()
    assert not contents(out)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["chekpoint=a"], "Did you mean checkpoint?"),
        (["input"], "KEY=VALUE"),
        (["input=a"], "Which output"),
        (["output=a"], "Which input"),
        (["input=a", "output=b", "inference=window"], "Did you mean windows?"),
        (["input=a", "output=b", "trainer.limit_predict_batches=1"], "trainer.limit_predict_batches means nothing"),
        (["input=a", "output=b", "trainer=x"], "trainer=x does not fit"),
        (["input=a", "output=b", "checkpoint=[a"], "Close every bracket"),
    ],
)
def test_wrong_arguments_are_answered(arguments: list[str], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        predict.read_arguments(arguments)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["checkpoint=a.ckpt", "model=b.onnx"], "are two models"),
        (["model=b.onnx", "plugins=[mine]"], "Leave plugins out"),
        (["model=b.onnx", "trainer.precision=bf16-mixed"], "computes in float32"),
        (["checkpoint=b.onnx", "trainer.precision=bf16-mixed"], "computes in float32"),
        (["checkpoint=b.onnx", "model=b.onnx"], "are two models"),
        ([], "Which checkpoint?"),
    ],
)
def test_what_predicts_is_one_thing(arguments: list[str], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        predict.make_predictor(predict.read_arguments(["input=a", "output=b", *arguments]))
    assert says in str(error.value)


def test_paths_and_patterns_are_taken_as_they_are() -> None:
    typed = ["checkpoint=a/epoch=3.ckpt", "input=*.jpg", "output=2024", "inference=windows", "inference.overlap=0.5"]
    options = predict.read_arguments(typed)
    assert options["checkpoint"] == "a/epoch=3.ckpt"
    assert (options["input"], options["output"]) == ("*.jpg", "2024")
    assert options["inference"]["window"] == [512, 512]
    assert options["inference"]["overlap"] == 0.5
    assert predict.read_arguments(["checkpoint=[a.ckpt,b]", *typed[1:]])["checkpoint"] == ["a.ckpt", "b"]


def test_a_checkpoint_predicts_by_command_what_it_does_from_python(
    composed: Composed, images: Path, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path / "a.ckpt", composed(*SEMANTIC))
    arguments = [f"checkpoint={tmp_path}/a.ckpt", f"input={images}/*.png", f"output={tmp_path}/out"]
    precision = ["trainer.precision=32-true", "trainer.accelerator=cpu"]
    assert predict.predict_files(predict.read_arguments([*arguments, *precision, "keep_memory=false"])) == 0
    expected = coatseg.load(tmp_path / "a.ckpt", device="cpu")(images / "a.png")
    assert np.array_equal(read_label_map(tmp_path / "out" / "labels" / "a.png"), expected.label_map.numpy())


def test_objects_are_a_file_for_cocos_tools(composed: Composed, images: Path, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "a.ckpt", composed(*OBJECTS))
    arguments = [f"checkpoint={tmp_path}/a.ckpt", f"input={images}", f"output={tmp_path}/out", "pictures=true"]
    precision = ["trainer.precision=32-true", "trainer.accelerator=cpu"]
    assert predict.predict_files(predict.read_arguments([*arguments, *precision, "keep_memory=false"])) == 0
    coco = COCO(tmp_path / "out" / "instances.json")
    assert [image["file_name"] for image in coco.dataset["images"]] == [
        "a.png", "b.jpg", "deep/alpha.png", "deep/grey.webp", "e.bmp",
    ]  # fmt: skip
    expected = coatseg.load(tmp_path / "a.ckpt", device="cpu")(images / "a.png")
    assert isinstance(expected, InstancePrediction)
    rows = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
    assert len(rows) == len(expected) > 0
    assert [row["score"] for row in rows] == pytest.approx(expected.scores.tolist())
    for row, mask in zip(rows, expected.masks.numpy(), strict=True):
        assert np.array_equal(coco.annToMask(row), mask)
        assert row["area"] == mask.sum()
    assert {category["id"] for category in coco.dataset["categories"]} >= {row["category_id"] for row in rows}
    assert json.loads((tmp_path / "out" / "objects" / "deep" / "grey.json").read_text())["image"]["width"] == 60


def test_a_form_is_written_whole_and_resumed(
    run: Run, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = "for.columns=[ImageId,ClassId,EncodedPixels]"
    assert run("for=kaggle_rle", columns, output="unbroken") == 0
    assert "submission.csv: 5 images" in capsys.readouterr().out
    (images / "b.jpg").rename(images / "hidden")
    (images / "b.jpg").touch()
    assert run("for=kaggle_rle", columns) == 1
    assert "submission.csv: 4 of 5 images" in capsys.readouterr().out
    (images / "hidden").replace(images / "b.jpg")
    assert run("for=kaggle_rle", columns, "resume=true") == 0
    assert "predicted: 1 of 5 images, 4 had been done" in capsys.readouterr().out
    assert contents(tmp_path / "out") == contents(tmp_path / "unbroken")
    with pytest.raises(RunExistsError, match=r"was begun with for\.suffix=None, and this is True"):
        run("for=kaggle_rle", columns, "for.suffix=true", "resume=true")


def test_a_form_may_go_to_any_address_with_pictures(run: Run, tmp_path: Path) -> None:
    away = fsspec.filesystem("memory")
    away.store.clear()
    away.pseudo_dirs[:] = [""]
    for output in ("memory://form", str(tmp_path / "here")):
        assert run(f"output={output}", "for=yolo", "pictures=true") == 0
    sent = {name.removeprefix("/form/"): hashlib.sha256(away.cat_file(name)).hexdigest() for name in away.find("/form")}
    assert sent == contents(tmp_path / "here")
    assert {"data.yaml", "labels/deep/grey.txt", "pictures/a.png", "legend.png"} < set(sent)


def test_label_maps_in_the_datasets_own_numbers(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predictor = small_predictor()
    predictor.task.info = replace(predictor.info, category_ids=(7, 8, 11, 33))
    assert run("numbers=dataset", predictor=predictor) == 0
    assert "output: labels/ID of small's numbers, 7 to 33; pixels without a sure class are 0" in capsys.readouterr().out
    assert run(output="plain") == 0
    numbers = read_label_map(tmp_path / "out" / "labels" / "a.png")
    labels = read_label_map(tmp_path / "plain" / "labels" / "a.png")
    assert np.array_equal(numbers, np.array([7, 8, 11, 33])[labels])
    assert "numbers" not in json.loads((tmp_path / "plain" / "predict.json").read_text())
    with pytest.raises(RunExistsError, match="was begun with numbers=dataset"):
        run("numbers=classes", "resume=true")


def test_a_geotiff_becomes_polygons_at_its_place_and_others_are_skipped_alone(
    run: Run, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from rasterio import Affine

    place = {"transform": Affine(0.5, 0, 300000, 0, -0.5, 5000000), "photometric": "RGB"}
    write_tiff(images / "map.tif", blotches(20, 30), crs="EPSG:32632", **place)
    local = 'LOCAL_CS["a building",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
    write_tiff(images / "local.tif", blotches(20, 30), crs=local, **place)
    assert run("for=geojson") == 1
    said = capsys.readouterr().out
    assert "output: polygons/ID.geojson in longitude and latitude (WGS 84), reprojected" in said
    assert "skipped: local.tif: its coordinates cannot be turned into longitude and latitude" in said
    rows = json.loads((tmp_path / "out" / "polygons" / "map.geojson").read_text())["features"]
    longitude, latitude = rows[0]["geometry"]["coordinates"][0][0]
    assert (longitude, latitude) == pytest.approx((6.47, 45.11), abs=0.1)
    assert json.loads((tmp_path / "out" / "polygons" / "a.geojson").read_text())["features"]


def test_objects_of_any_score_in_a_form_are_told(composed: Composed, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "a.ckpt", composed(*OBJECTS))
    predictor = coatseg.load(tmp_path / "a.ckpt", device="cpu")
    labelme = predict.make_writer({"for": {"name": "labelme"}}, predictor, Place(tmp_path))
    coco = predict.make_writer({"for": {"name": "coco"}}, predictor, Place(tmp_path))
    assert list(predict.words_on(labelme, predictor)) == [
        "objects of every score are written; score_threshold=0.5 leaves the unsure ones out"
    ]
    assert list(predict.words_on(coco, predictor)) == []
    assert list(predict.words_on(coco, predictor, left_out=2)) == [
        "left out: 2 images of the input that for.json does not name"
    ]
    predictor.score_threshold = 0.5
    assert list(predict.words_on(labelme, predictor)) == []
    assert list(predict.words_on(labelme, small_predictor())) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["for=cityscape"], "Did you mean cityscapes"),
        (["for.pixels=true"], "none is chosen"),
        (["for=geojson", "for.pixel=true"], "Did you mean pixels"),
        (["for=voc", "for.pixels=true"], "voc has no options"),
        (["for=geojson", "for=yolo"], "for=geojson and for=yolo are both given"),
        (["for=geojson", "numbers=dataset"], "numbers=dataset and for=geojson are both given"),
        (["for=coco"], "for=coco takes what models for boxes or instances or panoptic labels predict"),
        (["for=cityscapes"], "for=cityscapes has no class class 0"),
    ],
)
def test_a_form_that_does_not_fit_is_answered_before_the_first_image(
    run: Run, tmp_path: Path, arguments: list[str], says: str
) -> None:
    with pytest.raises(ConfigError) as error:
        run(*arguments)
    assert says in str(error.value)
    assert not contents(tmp_path / "out")
