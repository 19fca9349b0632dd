#!/usr/bin/env bash
# transformers' Mask2Former reads its own ignore_value nowhere: pixels that nobody annotated are background of all masks.
#
# transformers 5.24.0, Mask2FormerForUniversalSegmentation. The configuration has an ignore_value, and a mask marks what
# belongs to an object; there is no way to say that a pixel is not known. Seen, for an image of which three quarters are
# not annotated, with ignore_value 255, 0 and 1:
#
#     the loss is the same three times; mask loss of the object alone 0.088, of the object and the unknown part 5.900
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.14.1 torchvision==0.29.1 transformers==5.24.0 scipy
cd "$folder"
venv/bin/python -W ignore - <<'PY'
import torch
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss


def configuration(ignore_value):
    return Mask2FormerConfig(
        backbone_config=SwinConfig(
            embed_dim=16,
            depths=[1, 1, 1, 1],
            num_heads=[1, 1, 1, 1],
            window_size=4,
            image_size=64,
            out_features=["stage1", "stage2", "stage3", "stage4"],
        ),
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        dim_feedforward=32,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=4,
        num_queries=8,
        num_labels=3,
        train_num_points=4096,
        ignore_value=ignore_value,
    )


truth = torch.zeros(1, 64, 64)  # the left quarter is an object of class 1; of the rest nothing is known
truth[:, :, :16] = 1
losses = []
for ignore_value in (255, 0, 1):
    torch.manual_seed(0)
    model = Mask2FormerForUniversalSegmentation(configuration(ignore_value)).eval()
    torch.manual_seed(1)
    images = torch.randn(1, 3, 64, 64)
    losses.append(float(model(pixel_values=images, mask_labels=[truth], class_labels=[torch.tensor([1])]).loss.detach()))
print("losses:", *(round(loss, 4) for loss in losses))
assert losses[0] == losses[1] == losses[2]

criterion = Mask2FormerLoss(configuration(255), {"loss_cross_entropy": 2.0, "loss_mask": 5.0, "loss_dice": 5.0})


def mask_loss(columns):
    masks = torch.full((1, 1, 64, 64), -8.0)
    masks[..., :columns] = 8.0
    torch.manual_seed(0)
    classes = torch.tensor([[[0.0, 9.0, 0.0, 0.0]]])
    return float(criterion(masks, classes, [truth], [torch.tensor([1])])["loss_mask"])


exact, wider = mask_loss(16), mask_loss(64)
print(f"mask loss of the object alone {exact:.3f}, of the object and the unknown part {wider:.3f}")
assert wider > 50 * exact
PY
