"""Segments of predictions: left out, numbered anew, written in COCO's panoptic format and read back."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from coatseg.data.datasets.panoptic_json import PanopticJson
from coatseg.data.images.sources import Source
from coatseg.results.predict.segments import only, without
from coatseg.results.predict.segments_json import encode_ids
from coatseg.results.predict.writers import PanopticWriter
from coatseg.structures import DatasetInfo, PanopticPrediction, Segment
from coatseg.system.fsspec_folders import Place
from tests.results.predict.forms.predictions import INFO, SIZE, panoptic

NUMBERED = replace(INFO, category_ids=(3, 17, 18))


def blocks() -> PanopticPrediction:
    ids = torch.tensor([[1, 1, 2], [0, 3, 2]], dtype=torch.int32)
    return PanopticPrediction("a", ids, torch.tensor([5, 6, 7]), torch.tensor([0.5, 0.9, 0.7]))


def test_segments_that_are_left_are_numbered_anew_and_the_others_are_void() -> None:
    left = only(blocks(), torch.tensor([False, True, True]))
    assert left.ids.tolist() == [[0, 0, 1], [0, 2, 1]]
    assert left.ids.dtype == torch.int32
    assert (left.labels.tolist(), left.scores.tolist()) == ([6, 7], pytest.approx([0.9, 0.7]))
    assert only(blocks(), torch.tensor([False] * 3)).ids.tolist() == [[0, 0, 0], [0, 0, 0]]


def test_a_segment_whose_pixels_are_all_taken_is_gone() -> None:
    nowhere = torch.tensor([[False, True, True], [False, False, True]])
    left = without(blocks(), nowhere)
    assert left.ids.tolist() == [[1, 0, 0], [0, 2, 0]]
    assert left.labels.tolist() == [5, 7]


@pytest.mark.parametrize(("number", "colour"), [(1, (1, 0, 0)), (70_000, (112, 17, 1)), (2**24 - 1, (255,) * 3)])
def test_ids_are_coded_in_red_green_and_blue(tmp_path: Path, number: int, colour: tuple[int, ...]) -> None:
    (tmp_path / "a.png").write_bytes(encode_ids(np.array([[0, number]], np.int32)))
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == "RGB"
        assert (picture.getpixel((0, 0)), picture.getpixel((1, 0))) == ((0, 0, 0), colour)


def written(folder: Path, info: DatasetInfo, *names: str) -> PanopticWriter:
    """Write the prediction for images of these names, and images beside it."""
    writer = PanopticWriter(Place(folder), info)
    sources = [Source(name.rpartition(".")[0], name, str(folder / "images" / name)) for name in names]
    writer.check(sources)
    for source in sources:
        Path(source.address).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SIZE[::-1]).save(source.address)
        assert not writer.done(source)
        writer.write(source, replace(panoptic(), id=source.id), None)
        assert writer.done(source)
    writer.conclude(sources, pictures=False)
    return writer


def test_the_joined_json_has_the_fields_of_the_format_and_scores(tmp_path: Path) -> None:
    written(tmp_path, NUMBERED, "000000000139.jpg", "000000000285.jpg")
    content = json.loads((tmp_path / "panoptic.json").read_text())
    assert content["categories"] == [
        {"id": 3, "name": "background", "isthing": 0, "color": [0, 0, 0]},
        {"id": 17, "name": "cat", "isthing": 1, "color": [250, 50, 80]},
        {"id": 18, "name": "dog", "isthing": 1, "color": [10, 200, 30]},
    ]
    assert [image["id"] for image in content["images"]] == [139, 285]
    first = content["annotations"][0]
    assert (first["image_id"], first["file_name"]) == (139, "000000000139.png")
    stuff = int((panoptic().ids == 2).sum())
    rows = [(row["id"], row["category_id"], row["area"], row["iscrowd"]) for row in first["segments_info"]]
    assert rows == [(1, 17, 170, 0), (2, 3, stuff, 0), (3, 18, 1, 0)]
    assert [row["score"] for row in first["segments_info"]] == [0.5, 0.625, 0.75]
    boxes = [row["bbox"] for row in first["segments_info"]]
    assert (boxes[0], boxes[2]) == ([3, 2, 17, 10], [30, 0, 1, 1])


def test_what_is_written_is_read_back_by_the_reader_of_the_format(tmp_path: Path) -> None:
    written(tmp_path, NUMBERED, "a.png", "deep/b.png")
    read = PanopticJson(tmp_path, "val", annotations={"val": "panoptic.json"})
    assert (read.info.classes, read.info.palette) == (INFO.classes, INFO.palette)
    assert (read.info.things, read.info.category_ids) == (INFO.things, NUMBERED.category_ids)
    assert len(read) == 2
    for number in range(2):
        truth = read[number].panoptic
        assert truth is not None
        assert np.array_equal(truth.ids, panoptic().ids.numpy())
        kept = [replace(segment, area=None) for segment in truth.segments]
        assert kept == [Segment(1, 1), Segment(2, 0), Segment(3, 2)]


def test_an_image_is_done_with_both_of_its_files(tmp_path: Path) -> None:
    writer = written(tmp_path, INFO, "a.png")
    source = Source("a", "a.png", "a.png")
    for name in ("panoptic/a.png", "segments/a.json"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).unlink()
        assert not writer.done(source)
        writer.conclude([source], pictures=False)
        assert json.loads((tmp_path / "panoptic.json").read_text())["annotations"] == []
        (tmp_path / name).write_bytes(content)


def test_it_is_told_that_a_png_has_no_place_on_earth(tmp_path: Path) -> None:
    writer = PanopticWriter(Place(tmp_path), INFO)
    writer.check([Source("a", "a.png", "a.png")])
    assert "geopackage" not in writer.words
    writer.check([Source("a", "a.tif", "a.tif")])
    assert writer.words.endswith("for=geopackage keeps the place of a GeoTIFF, which a PNG does not")
