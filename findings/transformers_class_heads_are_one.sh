#!/usr/bin/env bash
# With iterative refinement, the class heads of all layers of transformers' Deformable DETR are one tensor.
#
# transformers 5.24.0, DeformableDetrForObjectDetection with with_box_refine=True. The authors' model has a class head a
# decoder layer. A checkpoint with separate ones loads by load_state_dict without a missing or unexpected name, and every
# layer then has the head of the last. Seen, for heads filled with 0 and 1:
#
#     after loading: 1.0 1.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1 transformers==5.24.0 scipy
cd "$folder"
venv/bin/python -W ignore - <<'PY'
import torch
from transformers import DeformableDetrConfig, DeformableDetrForObjectDetection, ResNetConfig

config = DeformableDetrConfig(
    use_timm_backbone=False,
    backbone=None,
    backbone_config=ResNetConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[16, 16, 32, 32],
        embedding_size=16,
        out_features=["stage2", "stage3", "stage4"],
    ),
    d_model=32,
    encoder_layers=1,
    decoder_layers=2,
    encoder_attention_heads=4,
    decoder_attention_heads=4,
    num_labels=3,
    num_queries=20,
    with_box_refine=True,
)
model = DeformableDetrForObjectDetection(config)
state = model.state_dict()
for layer in range(2):
    for prefix in ("", "model.decoder."):
        if f"{prefix}class_embed.{layer}.weight" in state:
            state[f"{prefix}class_embed.{layer}.weight"] = torch.full((3, 32), float(layer))
print(model.load_state_dict(state))
means = [float(head.weight.detach().mean()) for head in model.class_embed]
print("after loading:", *means)
assert means == [1.0, 1.0]
PY
