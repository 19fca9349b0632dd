"""How far colour and position alone get on `scenes`, and how fast scenes are drawn.

    python -m benchmarks.scenes_baseline --size 128

Fits a multinomial logistic regression on (R, G, B, x, y) of single pixels of the train split and scores it on every
pixel of the val split: the score that a network has to leave far behind. OpenCV uses one thread.
"""

from __future__ import annotations

import argparse
import time

import cv2
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from coatseg.scenes import Scenes
from coatseg.structures import Sample

PIXELS_AN_IMAGE = 100


def features(sample: Sample) -> np.ndarray:
    """Return (H * W, 5): red, green, blue, and the column and row as shares of the size."""
    height, width = sample.image.shape[:2]
    rows, columns = np.mgrid[0:height, 0:width]
    places = np.stack([columns / width, rows / height], axis=-1)
    return np.concatenate([sample.image / 255.0, places], axis=-1).reshape(-1, 5)


def labels(sample: Sample) -> np.ndarray:
    """Return the class number of every pixel, (H * W,)."""
    assert sample.label_map is not None
    return sample.label_map.ravel()


def fit(train: Scenes, images: int, seed: int) -> LogisticRegression:
    """Return a model fitted on some pixels of each of the first `images` scenes."""
    rng = np.random.default_rng(seed)
    points, truths = [], []
    for index in range(images):
        sample = train[index]
        chosen = rng.integers(0, sample.image.shape[0] * sample.image.shape[1], PIXELS_AN_IMAGE)
        points.append(features(sample)[chosen])
        truths.append(labels(sample)[chosen])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    return model.fit(np.concatenate(points), np.concatenate(truths))


def confusion(model: LogisticRegression, val: Scenes) -> np.ndarray:
    """Count (truth, prediction) pairs over all pixels, (classes, classes) int64."""
    classes = len(val.info.classes)
    counts = np.zeros(classes * classes, np.int64)
    for index in range(len(val)):
        sample = val[index]
        pairs = labels(sample).astype(np.int64) * classes + model.predict(features(sample))
        counts += np.bincount(pairs, minlength=classes * classes)
    return counts.reshape(classes, classes)


def main() -> None:
    """Print the scores and the speed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train-images", type=int, default=800)
    parser.add_argument("--size", type=int, default=256, help="height and width of the scenes")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    cv2.setNumThreads(0)
    size = (arguments.size, arguments.size)
    train, val = (Scenes(split, size=size, seed=arguments.seed) for split in ("train", "val"))
    model = fit(train, arguments.train_images, arguments.seed)
    counts = confusion(model, val)
    hits = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - hits
    shares = counts.sum(1) / counts.sum()
    for name, hit, total, share in zip(val.info.classes, hits, union, shares, strict=True):
        print(f"{name:10} IoU {hit / max(total, 1):.3f}   {share:6.1%} of the pixels")
    score = (hits[union > 0] / union[union > 0]).mean()
    print(f"mIoU {score:.3f} over {len(val)} images: logistic regression on R, G, B, x, y")
    start = time.process_time()
    for index in range(len(val)):
        val[index]
    height, width = val[0].image.shape[:2]
    print(f"{len(val) / (time.process_time() - start):.0f} images a second and core at {height} x {width}")


if __name__ == "__main__":
    main()
