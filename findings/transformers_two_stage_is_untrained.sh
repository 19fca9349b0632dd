#!/usr/bin/env bash
# Two-stage Deformable DETR in transformers trains nothing of its first stage, without a word.
#
# transformers 5.24.0, DeformableDetrForObjectDetection with two_stage=True. The first stage chooses the proposals by a
# class head and a box head of its own on the encoder's output. The paper trains both; the library's loss has no term for
# them, so proposals are chosen by random weights for ever. Seen, for one image with one box:
#
#     12 parameters without a gradient, among them model.enc_output.weight, model.decoder.class_embed.2.weight and
#     model.decoder.bbox_embed.2.layers.0.weight
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1 transformers==5.24.0 scipy
cd "$folder"
venv/bin/python -W ignore - <<'PY'
import torch
from transformers import DeformableDetrConfig, DeformableDetrForObjectDetection, ResNetConfig

torch.manual_seed(0)
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
    two_stage=True,
    two_stage_num_proposals=20,
    auxiliary_loss=True,
)
model = DeformableDetrForObjectDetection(config).train()
labels = [{"class_labels": torch.tensor([1]), "boxes": torch.tensor([[0.5, 0.5, 0.4, 0.4]])}]
model(pixel_values=torch.randn(1, 3, 128, 128), labels=labels).loss.backward()
idle = [name for name, one in model.named_parameters() if one.requires_grad and one.grad is None]
print(len(idle), "parameters without a gradient:", *idle)
first_stage = ("model.enc_output.weight", "model.decoder.class_embed.2.weight", "model.decoder.bbox_embed.2.layers.0.weight")
assert len(idle) == 12
assert set(first_stage) <= set(idle)
PY
