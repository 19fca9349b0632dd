"""What every dataset reader promises. Inherit `DatasetContract` and say how to make one."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from coatseg.data.loading.batching import target_of
from coatseg.metrics.confusion import ConfusionMatrix, semantic_scores
from coatseg.metrics.multilabel import LayerCounts, layer_scores
from coatseg.structures import Dataset, DatasetInfo, Sample, SizedDataset


class DatasetContract:
    """Checks of a reader on good files; `make` gives the dataset, written under `root` if it needs files."""

    def make(self, root: Path) -> Dataset:
        raise NotImplementedError

    @pytest.fixture
    def dataset(self, tmp_path):
        return self.make(tmp_path)

    def test_its_facts_are_complete(self, dataset):
        info = dataset.info
        assert info.name
        assert len(info.classes) == len(set(info.classes)) == len(info.palette) > 0
        assert all(0 <= value <= 255 for colour in info.palette for value in colour)
        assert len(info.mean) == len(info.std) == info.channels
        assert min(info.std) > 0
        assert info.annotates
        assert info.annotates <= {"semantic", "multilabel", "boxes", "instances", "panoptic"}
        assert "boxes" in info.annotates or "instances" not in info.annotates
        assert len(info.category_ids) == len(set(info.category_ids)) in (0, len(info.classes))
        assert info.ignore_index not in range(len(info.classes))
        assert set(info.things) <= set(range(len(info.classes)))
        assert DatasetInfo.from_plain(info.to_plain()) == info

    def test_every_sample_is_well_formed(self, dataset):
        assert len(dataset) > 0
        for index in range(len(dataset)):
            check_sample(dataset[index], dataset.info)

    def test_ids_name_samples(self, dataset):
        ids = [dataset[index].id for index in range(len(dataset))]
        assert all(ids)
        assert len(set(ids)) == len(ids)

    def test_samples_name_their_files(self, dataset):
        for index in range(len(dataset)):
            file = dataset[index].file
            assert not file or Path(file).is_file()

    def test_good_samples_verify(self, dataset):
        for index in range(len(dataset)):
            dataset.verify(index)

    def test_sizes_are_known_without_reading(self, dataset):
        assert isinstance(dataset, SizedDataset)
        for index in range(len(dataset)):
            assert dataset.size(index) == dataset[index].original_size

    def test_the_truth_as_prediction_scores_one(self, dataset):
        info = dataset.info
        if "boxes" in info.annotates:
            for kind, truth in (("bbox", "boxes"), ("segm", "instances")):
                if truth in info.annotates:
                    assert average_precision_of_truth(dataset, kind) == pytest.approx(1.0)
        if not info.annotates & {"semantic", "multilabel"}:
            return
        if "multilabel" in info.annotates:
            counts = LayerCounts(len(info.classes), info.ignore_index)
            for index in range(len(dataset)):
                truth = target_of(dataset[index]).layers
                counts.update(truth == 1, truth)
            assert layer_scores(counts.counts, info.classes).mean_iou == 1.0
            return
        confusion, present = ConfusionMatrix(len(info.classes), info.ignore_index), set()
        for index in range(len(dataset)):
            truth = target_of(dataset[index]).label_map
            confusion.update(truth.where(truth != info.ignore_index, 0), truth)
            present |= set(truth.unique().tolist()) - {info.ignore_index}
        scores = semantic_scores(confusion.counts, info.classes)
        assert set(np.flatnonzero(~np.isnan(scores.iou))) == present != set()
        assert scores.mean_iou == scores.mean_accuracy == scores.pixel_accuracy == 1.0

    def test_iteration_ends(self, dataset):
        with pytest.raises(IndexError):
            dataset[len(dataset)]

    def test_reading_twice_gives_the_same(self, dataset):
        assert_same(dataset[0], dataset[0])

    def test_it_travels_to_worker_processes(self, dataset):
        copy = pickle.loads(pickle.dumps(dataset))
        assert copy.info == dataset.info
        assert_same(copy[0], dataset[0])


def average_precision_of_truth(dataset: Dataset, kind: str) -> float:
    """Score the truth of a dataset, fed back as detections, with pycocotools."""
    images, truth, detections = [], [], []
    for key in range(len(dataset)):
        sample = dataset[key]
        height, width = sample.original_size
        images.append({"id": key, "height": height, "width": width})
        boxes = np.concatenate(
            [sample.instances.boxes[:, :2], sample.instances.boxes[:, 2:] - sample.instances.boxes[:, :2]], 1
        )
        for number, (box, label, crowd) in enumerate(
            zip(boxes.tolist(), sample.instances.labels, sample.instances.crowd, strict=True)
        ):
            found = {"image_id": key, "category_id": int(label), "bbox": box, "area": box[2] * box[3]}
            if kind == "segm":
                mask = np.asfortranarray(sample.instances.masks[number].view(np.uint8))
                found["segmentation"] = coco_masks.encode(mask)
            truth.append({**found, "id": len(truth) + 1, "iscrowd": int(crowd)})
            if not crowd:
                detections.append({**found, "id": len(detections) + 1, "score": 1.0})
    both = []
    for objects in (truth, detections):
        both.append(COCO())
        categories = [{"id": label, "name": name} for label, name in enumerate(dataset.info.classes)]
        both[-1].dataset = {"images": images, "annotations": objects, "categories": categories}
        both[-1].createIndex()
    evaluation = COCOeval(*both, kind)
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
    evaluation.params.maxDets = [1, 10, 10000]
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"][..., -1]
    return float(precision[precision > -1].mean())


def check_sample(sample: Sample, info: DatasetInfo) -> None:
    """Check shapes, types and ranges of a sample against the dataset's facts."""
    size = sample.image.shape[:2]
    assert sample.image.shape == (*size, info.channels)
    assert sample.image.dtype in (np.uint8, np.uint16, np.float32)
    assert sample.image.flags.c_contiguous
    assert sample.original_size == size
    assert ("semantic" in info.annotates) == (sample.label_map is not None)
    assert ("multilabel" in info.annotates) == (sample.layers is not None)
    assert ("boxes" in info.annotates) == (sample.instances is not None)
    assert ("panoptic" in info.annotates) == (sample.panoptic is not None)
    if sample.label_map is not None:
        assert sample.label_map.shape == size
        assert set(np.unique(sample.label_map)) <= {*range(len(info.classes)), info.ignore_index}
    if sample.layers is not None:
        assert sample.layers.shape == (*size, len(info.classes))
        assert sample.layers.dtype == np.uint8
        assert set(np.unique(sample.layers)) <= {0, 1, info.ignore_index}
        assert 2 <= info.ignore_index <= 255
    if sample.instances is not None:
        check_instances(sample, info)
    if sample.panoptic is not None:
        assert sample.panoptic.ids.shape == size
        assert sample.panoptic.ids.dtype == np.int32
        named = [segment.id for segment in sample.panoptic.segments]
        assert sorted(named) == sorted(set(np.unique(sample.panoptic.ids)) - {0})
        assert all(0 <= segment.label < len(info.classes) for segment in sample.panoptic.segments)


def check_instances(sample: Sample, info: DatasetInfo) -> None:
    """Check that boxes, labels, masks and crowd flags fit together and lie in the image."""
    instances, (height, width) = sample.instances, sample.image.shape[:2]
    count = len(instances)
    assert ("instances" in info.annotates) == (instances.masks is not None)
    assert instances.boxes.shape == (count, 4)
    assert instances.boxes.dtype == np.float64
    assert instances.labels.shape == instances.crowd.shape == (count,)
    assert (instances.labels.dtype, instances.crowd.dtype) == (np.int64, np.bool_)
    assert instances.areas is None or (instances.areas.shape, instances.areas.dtype) == ((count,), np.float64)
    assert set(instances.labels.tolist()) <= set(info.things)
    x1, y1, x2, y2 = instances.boxes.T
    assert (x1 >= 0).all()
    assert (y1 >= 0).all()
    assert (x1 < x2).all()
    assert (y1 < y2).all()
    assert (x2 <= width).all()
    assert (y2 <= height).all()
    if instances.masks is not None:
        assert instances.masks.shape == (count, height, width)
        assert instances.masks.dtype == np.bool_
        assert instances.masks.any(axis=(1, 2)).all()


def assert_same(one: Sample, other: Sample) -> None:
    """Check that two samples hold the same in every field."""
    assert (one.id, one.original_size) == (other.id, other.original_size)
    np.testing.assert_array_equal(one.image, other.image)
    np.testing.assert_array_equal(one.label_map, other.label_map)
    np.testing.assert_array_equal(one.layers, other.layers)
    for part in ("instances", "panoptic"):
        mine, its = getattr(one, part), getattr(other, part)
        assert (mine is None) == (its is None)
        for name in vars(mine) if mine is not None else ():
            np.testing.assert_array_equal(getattr(mine, name), getattr(its, name))
