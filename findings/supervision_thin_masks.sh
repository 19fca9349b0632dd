#!/usr/bin/env bash
# supervision writes a mask one pixel wide to COCO without a segmentation, and reads it back as an empty mask.
#
# supervision 0.31.2, DetectionDataset.as_coco and from_coco. The object stays in the file, with "segmentation": [] and a
# box of width 0: it has no pixels, but counts as an object that was not found. Seen:
#
#     [] [60.0, 20.0, 0.0, 19.0]; 20 pixels written, 0 read
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet supervision==0.31.2 opencv-python-headless==5.0.0.93
cd "$folder"
venv/bin/python -W ignore - <<'PY'
import json

import cv2
import numpy as np
import supervision

masks = np.zeros((1, 48, 64), bool)
masks[0, 20:40, 60] = True
cv2.imwrite("a.png", np.zeros((48, 64, 3), np.uint8))
objects = supervision.Detections(
    xyxy=supervision.mask_to_xyxy(masks).astype(float), mask=masks, class_id=np.zeros(1, int)
)
supervision.DetectionDataset(["cell"], ["a.png"], {"a.png": objects}).as_coco(annotations_path="a.json")
with open("a.json") as file:
    row = json.load(file)["annotations"][0]
_, _, read = next(iter(supervision.DetectionDataset.from_coco(".", "a.json", force_masks=True)))
print(row["segmentation"], f"{row['bbox']}; {masks.sum()} pixels written, {read.mask.sum()} read")
assert row["segmentation"] == [] and row["bbox"] == [60.0, 20.0, 0.0, 19.0]
assert read.mask.sum() == 0
PY
