"""What an inspection says of panoptic segments."""

from dataclasses import replace

import numpy as np
import pytest

from coatseg.data.inspection import Inspection
from coatseg.data.inspection.facts import sample_facts
from coatseg.data.inspection.first_look import look_at
from coatseg.data.inspection.report import plain
from coatseg.data.inspection.tables import classes_table, splits_table
from coatseg.structures import DatasetInfo, Panoptic, Sample, Segment
from tests.data.inspection.listed import INFO, Listed, found, inspected, sample

SEGMENTED: DatasetInfo = replace(
    INFO,
    classes=("road", "person", "car"),
    palette=((0, 0, 0), (255, 0, 0), (0, 255, 0)),
    annotates=frozenset({"panoptic"}),
    things=(1, 2),
)
IDS = np.zeros((8, 10), np.int32)
IDS[4:] = 70000
IDS[0, :4] = 5
IDS[1, :4] = 6
IDS[2, :2] = 7
SEGMENTS = (Segment(70000, 0, area=40), Segment(5, 1, area=4), Segment(6, 1, area=4), Segment(7, 1, crowd=True))
"""Road, two persons and a crowd of them; 30 of the 80 pixels are void."""


def segmented(name: str = "a", ids: np.ndarray = IDS, segments: tuple[Segment, ...] = SEGMENTS) -> Sample:
    return replace(sample(name), label_map=None, panoptic=Panoptic(ids, segments))


def looked_at(*samples: Sample) -> Inspection:
    return inspected(Listed(*samples, info=SEGMENTED))


def row(inspection: Inspection, name: str) -> list[str]:
    return next(list(cells[1:]) for cells in splits_table(inspection.splits).rows if cells[0] == name)


def test_segments_are_counted() -> None:
    nothing = segmented("bb", np.zeros_like(IDS), ())
    inspection = looked_at(segmented(), nothing)
    assert row(inspection, "segments") == ["4"]
    assert row(inspection, "segments of things / of stuff") == ["3 / 1"]
    assert row(inspection, "segments an image") == ["0 / 2 / 4"]
    assert row(inspection, "images without segments") == ["1"]
    assert row(inspection, "segments that are crowds") == ["1"]
    assert row(inspection, "void pixels") == ["68.75%"]
    table = classes_table(inspection)
    assert table.columns == ("class", "train pixels (%)", "train images", "train segments")
    assert table.rows == (("road", "80.00", "1", "1"), ("person", "20.00", "1", "3"), ("car", "0.00", "0", "0"))
    assert "Segments are counted with crowds." in table.note
    assert plain(inspection)["splits"]["train"]["class_segments"] == [1, 3, 0]
    assert found(inspection, "ignored everywhere") == ("train bb",)
    assert found(inspection, "never seen") == ("car",)


def test_images_that_are_void_throughout_teach_nothing() -> None:
    inspection = looked_at(segmented(ids=np.zeros_like(IDS), segments=()))
    (finding,) = [finding for finding in inspection.findings if "every label is ignored" in finding.what]
    assert finding.broken


WRONG = {
    "in the map that are not listed": (SEGMENTS[1:], "1 segment"),
    "that no pixel has": ((*SEGMENTS, Segment(8, 2), Segment(9, 2)), "2 segments"),
    "of another area than the annotations state": ((SEGMENTS[0], replace(SEGMENTS[1], area=5), *SEGMENTS[2:]),
                                                   "1 segment"),
    "of a class of stuff": ((*SEGMENTS[:2], Segment(6, 0), SEGMENTS[3]), "1 segment"),
    "with labels that are no class": ((*SEGMENTS[:3], Segment(7, 3)), "2 pixels and 1 segments"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_wrong_segments_are_told(what: str) -> None:
    segments, words = WRONG[what]
    inspection = looked_at(segmented(segments=segments))
    assert found(inspection, what) == (f"train a: {words}",)
    assert inspection.broken == ("not listed" in what or "no class" in what)


def test_things_that_are_all_crowds_are_told() -> None:
    crowds = tuple(replace(segment, crowd=segment.label == 1) for segment in SEGMENTS)
    assert found(looked_at(segmented(segments=crowds)), "every segment of a thing is a crowd") == ("train: 3 segments",)
    assert not any("is a crowd" in finding.what for finding in looked_at(segmented()).findings)


def test_the_look_before_a_training_sees_segments() -> None:
    facts = look_at("train", Listed(segmented(), info=SEGMENTED), seconds=60, needs="panoptic")
    assert facts.class_segments.tolist() == [1, 3, 0]
    assert facts.class_pixels.tolist() == [40, 10, 0]


def test_other_segments_are_another_truth() -> None:
    parts = [segmented(), segmented(ids=np.where(IDS == 5, 6, IDS)), segmented(segments=SEGMENTS[:3])]
    assert len({sample_facts(part, 0, SEGMENTED).truth for part in parts}) == 3
