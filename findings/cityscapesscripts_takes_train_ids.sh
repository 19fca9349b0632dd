#!/usr/bin/env bash
# cityscapesScripts scores train ids as if they were label ids, without a word.
#
# cityscapesScripts 2.3.0, evaluatePair of the pixel-level evaluation. Most models predict train ids, 0 to 18; the tool
# and the server want label ids, 7 to 33. Both are valid label ids, so a perfect prediction in train ids is read as other
# classes. Seen, for a perfect prediction of a road and a car:
#
#     label ids 1.0, train ids 0.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet cityscapesScripts==2.3.0
cd "$folder"
venv/bin/python -W ignore - <<'PY'
import numpy as np
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as tool
from cityscapesscripts.helpers.labels import id2label
from PIL import Image

truth = np.full((32, 64), 7, np.uint8)  # road
truth[8:16, 8:24] = 26  # car
Image.fromarray(truth).save("a_b_c_gtFine_labelIds.png")
tool.args.quiet, tool.args.evalInstLevelScore, tool.args.evalPixelAccuracy = True, False, False


def score(prediction):
    Image.fromarray(prediction).save("a_b_c.png")
    confusion = tool.generateMatrix(tool.args)
    tool.evaluatePair(
        "a_b_c.png", "a_b_c_gtFine_labelIds.png", confusion, tool.generateInstanceStats(tool.args), {}, tool.args
    )
    scores = [tool.getIouScoreForLabel(label, confusion, tool.args) for label in (7, 26)]
    return float(np.mean(scores))


train_ids = np.vectorize(lambda label: id2label[label].trainId)(truth).astype(np.uint8)
scores = score(truth), score(train_ids)
print("label ids {}, train ids {}".format(*scores))
assert scores == (1.0, 0.0)
PY
