#!/usr/bin/env bash
# pycocotools takes a result's area from its box, where it has a box and a mask, so masks change their size class.
#
# pycocotools 2.0.11, COCO.loadRes. Results of masks get the mask's area only if they have no "bbox"; with both, as
# instance segmentation tools write them, the area of the box counts for small, medium and large. Seen, for a triangle:
#
#     mask alone 210, mask and box 400
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pycocotools==2.0.11
cd "$folder"
venv/bin/python - <<'PY'
import numpy as np
from pycocotools import mask
from pycocotools.coco import COCO

truth = COCO()
truth.dataset = {
    "images": [{"id": 1, "height": 48, "width": 64}],
    "annotations": [],
    "categories": [{"id": 1, "name": "cell"}],
}
truth.createIndex()
triangle = np.zeros((48, 64), np.uint8, order="F")
triangle[10:30, 10:30] = np.tri(20)
row = {"image_id": 1, "category_id": 1, "score": 1.0, "segmentation": mask.encode(triangle)}
areas = [int(truth.loadRes([result]).anns[1]["area"]) for result in (dict(row), {**row, "bbox": [10, 10, 20, 20]})]
print("mask alone {}, mask and box {}".format(*areas))
assert areas == [210, 400]
PY
