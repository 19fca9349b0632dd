#!/usr/bin/env bash
# transformers' panoptic segmentation gives two objects one id where a class of stuff is in several pieces.
#
# transformers 5.24.0, Mask2FormerImageProcessor.post_process_panoptic_segmentation with label_ids_to_fuse. After the
# second piece of a fused class, the next segment gets an id that is taken. Seen, for road, car, road, car from left to
# right, of which the road is to be fused:
#
#     ids 1 2 1 2: both cars are segment 2, and the list has four entries with the ids 1, 2, 1, 2
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1 transformers==5.24.0 scipy
cd "$folder"
venv/bin/python -W ignore - <<'PY'
from types import SimpleNamespace

import torch
from transformers import Mask2FormerImageProcessor

ROAD, CAR = 0, 1
classes, masks = torch.full((1, 4, 3), -20.0), torch.full((1, 4, 64, 64), -20.0)
for query, label in enumerate((ROAD, CAR, ROAD, CAR)):
    classes[0, query, label] = 20.0
    masks[0, query, :, 16 * query : 16 * query + 16] = 20.0
outputs = SimpleNamespace(class_queries_logits=classes, masks_queries_logits=masks)
(found,) = Mask2FormerImageProcessor().post_process_panoptic_segmentation(
    outputs, label_ids_to_fuse={ROAD}, target_sizes=[(64, 64)]
)
ids = found["segmentation"][0, 8::16].tolist()
listed = [segment["id"] for segment in found["segments_info"]]
print("ids", *ids, "listed", *listed)
assert ids == [1, 2, 1, 2]
assert listed == [1, 2, 1, 2]
PY
