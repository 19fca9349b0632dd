#!/usr/bin/env bash
# panopticapi takes the areas of true segments from their json and not from their PNG: an old area there makes it count
# a perfect prediction as missed, or give it an IoU above 1.
#
# panopticapi 7bb4655 (panopticapi-lite 0.2.0 on PyPI), pq_compute_single_core. It happens when the PNG files are
# resized or redrawn and "area" is left as it was. Areas of predicted segments are counted in their PNG. Seen, of a
# person of 100 pixels that is predicted exactly:
#
#     area 100 in the json: found with IoU 1.0
#     area 150 in the json: found with IoU 0.6667
#     area 200 in the json: not found, and a false positive
#     area 50 in the json: found with IoU 2.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-deps panopticapi-lite==0.2.0 numpy==2.2.6 pillow==11.3.0
cd "$folder"
venv/bin/python - <<'PY'
import contextlib
import io

import numpy as np
from panopticapi.evaluation import pq_compute_single_core
from PIL import Image

ids = np.zeros((20, 20, 3), np.uint8)
ids[:5, :, 0] = 7
Image.fromarray(ids).save("a.png")
predicted = {"image_id": 1, "file_name": "a.png", "segments_info": [{"id": 7, "category_id": 1, "iscrowd": 0}]}
seen = {}
for area in (100, 150, 200, 50):
    truth = {**predicted, "segments_info": [{"id": 7, "category_id": 1, "iscrowd": 0, "area": area}]}
    with contextlib.redirect_stdout(io.StringIO()):
        counts = pq_compute_single_core(0, [(truth, predicted)], ".", ".", {1: {"id": 1, "isthing": 1}})[1]
    seen[area] = (counts.tp, counts.fp, counts.fn, round(float(counts.iou), 4))
    words = f"found with IoU {seen[area][3]}" if counts.tp else "not found, and a false positive"
    print(f"area {area} in the json: {words}")
assert seen == {100: (1, 0, 0, 1.0), 150: (1, 0, 0, 0.6667), 200: (0, 1, 1, 0.0), 50: (1, 0, 0, 2.0)}, seen
PY
