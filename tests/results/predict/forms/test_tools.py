"""What is written for other people's tools, given to these tools: cityscapesScripts, LabelMe, and GDAL by pyogrio."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rasterio.crs import CRS

from coatseg.commands.evaluate import evaluate_checkpoint
from coatseg.commands.evaluate import read_arguments as evaluate_arguments
from coatseg.commands.predict import predict_files
from coatseg.commands.predict import read_arguments as predict_arguments
from coatseg.data.datasets.cityscapes import Cityscapes
from coatseg.data.images.sources import Source
from coatseg.data.images.statements.geotags import GeoTags
from coatseg.results.predict.forms.table import FORMS
from coatseg.structures import InstancePrediction
from coatseg.system.fsspec_folders import Place
from tests.data.official import LABEL_IDS, SIZE, write_cityscapes_instances
from tests.results.checkpoints import write_checkpoint
from tests.results.predict.forms.predictions import label_map, objects, write

pytestmark = pytest.mark.tools

WITH_OLD_NUMPY = "import numpy\nnumpy.in1d = getattr(numpy, 'in1d', numpy.isin)\n"
"""cityscapesScripts 2.3.0 calls it by a name that numpy 2.4 no longer has."""


def run(*words: str, **environment: str) -> str:
    """Run Python of the tools' own environment."""
    python = os.environ["COATSEG_TOOLS_PYTHON"]
    given = {**os.environ, **environment, "PYTHONPATH": ""}
    done = subprocess.run([python, *words], env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def sources(root: Path) -> list[Source]:
    images = root / "leftImg8bit" / "val"
    found = sorted(images.rglob("*.png"))
    names = [path.relative_to(images).as_posix() for path in found]
    return [Source(name.removesuffix(".png"), name, str(path)) for name, path in zip(names, found, strict=True)]


def test_the_miou_of_cityscapes_scripts_is_that_of_evaluate(
    composed: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    root = write_cityscapes_instances(tmp_path / "data", ids=(7, 24, 24001, 26000, 26001, 29000))
    model = ("backbone=coat_lite_tiny", "head.width=32", "head.pyramid_width=16")
    config = composed("data=cityscapes", f"data.root={root}", "data.workers=0", *model)
    write_checkpoint(tmp_path / "a.ckpt", config)
    machine = ["trainer.accelerator=cpu", "trainer.precision=32-true", "keep_memory=false"]
    typed = [f"checkpoint={tmp_path}/a.ckpt", *machine]
    given = [f"input={root}/leftImg8bit/val", f"output={tmp_path}/out", "for=cityscapes", "workers=0"]
    assert predict_files(predict_arguments([*typed, *given])) == 0
    for seed, mask in enumerate(sorted(root.glob("gtFine/val/*/*_labelIds.png"))):  # so that some of it is right
        name = mask.name.replace("_gtFine_labelIds", "_leftImg8bit")
        predicted = np.asarray(Image.open(tmp_path / "out" / "cityscapes" / name))
        random = np.random.default_rng(seed)
        truth = np.where(random.random(SIZE) < 0.4, predicted, random.choice(LABEL_IDS, SIZE))
        Image.fromarray(truth.astype(np.uint8)).save(mask)
    evaluate_checkpoint(evaluate_arguments([*typed, f"output={tmp_path}/ours", "worst=0"]))
    (tmp_path / "theirs").mkdir()
    run(
        "-c",
        f"{WITH_OLD_NUMPY}"
        "from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as tool\n"
        "tool.main()\n",
        CITYSCAPES_DATASET=str(root),
        CITYSCAPES_RESULTS=str(tmp_path / "out" / "cityscapes"),
        CITYSCAPES_EXPORT_DIR=str(tmp_path / "theirs"),
    )
    theirs = json.loads((tmp_path / "theirs" / "resultPixelLevelSemanticLabeling.json").read_text())
    ours = json.loads((tmp_path / "ours" / "scores.json").read_text())["summary"]["mIoU"]
    assert 0.01 < ours < 0.9
    assert theirs["averageScoreClasses"] == pytest.approx(ours, abs=1e-6)


def test_the_instances_of_cityscapes_scripts_are_ours(tmp_path: Path) -> None:
    root = write_cityscapes_instances(tmp_path / "data", ids=(7, 24001, 26000, 26001))
    dataset = Cityscapes(root, "val", instances=True)
    writer = FORMS["cityscapes"]["instances"](Place(tmp_path / "out"), dataset.info)
    for index, image in enumerate(sources(root)):
        objects = dataset[index].instances
        kept = ~objects.crowd
        masks = torch.from_numpy(objects.masks[kept])
        scores = torch.linspace(0.9, 0.5, len(masks))
        labels, boxes = torch.from_numpy(objects.labels[kept]), torch.from_numpy(objects.boxes[kept])
        writer.write(image, InstancePrediction(image.id, SIZE, boxes, labels, scores, masks), None)
    run(
        "-c",
        f"{WITH_OLD_NUMPY}"
        "import json, sys\n"
        "from cityscapesscripts.evaluation import evalInstanceLevelSemanticLabeling as tool\n"
        "tool.args.gtInstancesFile, tool.args.exportFile = sys.argv[1:]\n"
        "tool.args.minRegionSizes[0] = 1\n"  # the pictures are small
        "def write(content, path):  # numpy's counts are no int, which the tool's own cannot write\n"
        "    with open(path, 'w') as file:\n"
        "        json.dump(content, file, default=float)\n"
        "tool.writeDict2JSON = write\n"
        "sys.argv = sys.argv[:1]\n"
        "tool.main()\n",
        str(tmp_path / "truth.json"),
        str(tmp_path / "scores.json"),
        CITYSCAPES_DATASET=str(root),
        CITYSCAPES_RESULTS=str(tmp_path / "out" / "cityscapes"),
    )
    theirs = json.loads((tmp_path / "scores.json").read_text())["averages"]
    assert theirs["classes"]["person"]["ap"] == pytest.approx(1)
    assert theirs["classes"]["car"]["ap"] == pytest.approx(1)


def test_gdal_reads_a_geopackage_with_its_reference_system_and_areas(tmp_path: Path) -> None:
    written = label_map()
    tags = GeoTags(CRS.from_epsg(32632).to_wkt(), (0.5, 0.0, 300000.0, 0.0, -0.5, 5000000.0))
    write("geopackage", "semantic", written, tmp_path, tags=tags)
    code = (
        "import sys, json, pyogrio\n"
        "path = sys.argv[1]\n"
        "info = pyogrio.read_info(path)\n"
        "meta, _, shapes, columns = pyogrio.raw.read(path)\n"
        "names = [str(name) for name in meta['fields']]\n"
        "total = pyogrio.raw.read(path, sql='SELECT number, SUM(ST_Area(geom)) AS area FROM polygons GROUP BY number',"
        " sql_dialect='SQLITE')\n"
        "print(json.dumps([info['crs'], info['geometry_type'], names, len(shapes),"
        " [column.tolist() for column in total[3]]]))\n"
    )
    crs, kind, names, count, (numbers, areas) = json.loads(run("-c", code, str(tmp_path / "polygons" / "a.gpkg")))
    assert (crs, kind) == ("EPSG:32632", "MultiPolygon")
    assert names == ["class", "number", "color", "score"]
    assert count > 3
    pixels = np.bincount(written.labels[written.labels < 3], minlength=3)
    assert dict(zip(numbers, areas, strict=True)) == pytest.approx({n: pixels[n] / 4 for n in range(3)})


def test_gdal_reads_geojson(tmp_path: Path) -> None:
    write("geojson", "semantic", label_map(), tmp_path)
    code = "import sys, pyogrio\nprint(pyogrio.read_info(sys.argv[1])['features'])\n"
    count = int(run("-c", code, str(tmp_path / "polygons" / "a.geojson")))
    assert count == len(json.loads((tmp_path / "polygons" / "a.geojson").read_text())["features"])


def test_labelme_reads_the_masks_and_finds_the_image(tmp_path: Path) -> None:
    found = objects()
    image = Source("a", "a.png", str(tmp_path / "images" / "a.png"))
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((*found.size, 3), np.uint8)).save(image.address)
    write("labelme", "instances", found, tmp_path / "out", image=image)
    code = (
        "import json, sys\n"
        "from unittest.mock import MagicMock\n"
        "for name in ('onnxruntime', 'PyQt5', 'PyQt5.QtCore', 'PyQt5.QtGui', 'PyQt5.QtWidgets'):\n"
        "    sys.modules[name] = MagicMock()  # what its window alone needs\n"
        "from labelme._label_file import read_label_file\n"
        "data = read_label_file(sys.argv[1])\n"
        "shapes = [(s['label'], s['points'], s['mask'].astype(int).tolist()) for s in data.shapes]\n"
        "print(json.dumps([len(data.image_data), shapes]))\n"
    )
    size, shapes = json.loads(run("-c", code, str(tmp_path / "out" / "labelme" / "a.json")))
    assert size == Path(image.address).stat().st_size
    assert [label for label, *_ in shapes] == ["cat", "dog", "cat"]
    for (_, ((x1, y1), (x2, y2)), crop), mask in zip(shapes, found.masks.numpy(), strict=False):
        whole = np.zeros(found.size, bool)
        whole[y1 : y2 + 1, x1 : x2 + 1] = np.array(crop, bool)
        assert np.array_equal(whole, mask)
