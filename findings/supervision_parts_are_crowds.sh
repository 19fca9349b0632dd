#!/usr/bin/env bash
# supervision writes an object of two parts, or with a hole, to COCO as a crowd, which no trainer learns.
#
# supervision 0.31.2, DetectionDataset.as_coco. A mask of one blob becomes a polygon; any other becomes run lengths with
# "iscrowd": 1. COCO's evaluation ignores crowds, and detectors leave them out of their loss. Seen (iscrowd):
#
#     square 0, two parts 1, ring 1
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

masks = np.zeros((3, 48, 64), bool)
masks[0, 10:30, 10:30] = True
masks[1, 5:10, 40:45] = masks[1, 15:20, 40:45] = True
masks[2, 25:45, 40:60] = True
masks[2, 30:40, 45:55] = False
cv2.imwrite("a.png", np.zeros((48, 64, 3), np.uint8))
objects = supervision.Detections(
    xyxy=supervision.mask_to_xyxy(masks).astype(float), mask=masks, class_id=np.zeros(3, int)
)
supervision.DetectionDataset(["cell"], ["a.png"], {"a.png": objects}).as_coco(annotations_path="a.json")
with open("a.json") as file:
    crowds = [row["iscrowd"] for row in json.load(file)["annotations"]]
print(*(f"{name} {crowd}" for name, crowd in zip(("square", "two parts", "ring"), crowds)), sep=", ")
assert crowds == [0, 1, 1]
PY
