"""What `python train.py` and `coatseg evaluate` say, and what stops them, before the first step."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from coatseg.commands.evaluate import evaluate_checkpoint
from coatseg.commands.fit import introduce
from coatseg.config.build import build
from coatseg.config.read import read
from coatseg.errors import ConfigError, DatasetError
from tests.data.generate import write_folder
from tests.data.inspection.test_checks import write_nodata
from tests.results.checkpoints import write_checkpoint

Composed = Callable[..., dict[str, Any]]
SMALL = ("backbone=coat_lite_tiny", "head.width=32", "head.pyramid_width=16", "data=folder", "data.batch_size=1")


def test_train_says_what_is_suspicious_in_the_words_of_inspect(
    composed: Composed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_folder(tmp_path / "mine", layout="folders")
    image = root / "train" / "images" / "train_00.png"
    (root / "val" / "images" / "val_03.png").write_bytes(image.read_bytes())
    plan = read(composed(*SMALL, f"data.root={root}"))
    introduce(plan, build(plan), None)
    printed = capsys.readouterr().out.splitlines()
    said = printed.index("checked the files and labels of 6 of 6 train, 6 of 6 val samples")
    assert printed[said + 1 :] == [
        "suspicious: 1 image in more than one split. Scores on images that were trained on say little: leave each in "
        "one split.",
        "  train train_00 = val val_03, with different annotations",
    ]


def test_train_and_evaluate_stop_at_an_image_of_no_numbers(composed: Composed, tmp_path: Path) -> None:
    root = write_nodata(tmp_path / "mine", value=np.nan)
    typed = (*SMALL, f"data.root={root}", "data.channels=1", "data.mean=[5]", "data.std=[2]")
    config = composed(*typed)
    plan = read(config)
    with pytest.raises(DatasetError, match=r"not finite \(train \d: 64 values in .*images/\d\.tif"):
        introduce(plan, build(plan), None)
    write_checkpoint(tmp_path / "a.ckpt", config)
    with pytest.raises(DatasetError, match=r"not finite \(val 3: 64 values in .*images/3\.tif") as raised:
        evaluate_checkpoint({"checkpoint": tmp_path / "a.ckpt"})
    assert "data.nodata=nan" in raised.value.mend


def test_one_class_under_a_softmax_is_neither_trained_nor_scored(composed: Composed, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "mine")
    (root / "classes.txt").write_text("thing\n")
    for path in (root / "masks").rglob("*.png"):
        Image.fromarray(np.zeros((32, 40), np.uint8)).save(path)
    config = composed(*SMALL, f"data.root={root}")
    write_checkpoint(tmp_path / "a.ckpt", config)
    for start in (lambda: build(read(config)), lambda: evaluate_checkpoint({"checkpoint": tmp_path / "a.ckpt"})):
        with pytest.raises(ConfigError, match="a single class, thing") as raised:
            start()
        assert "data.layers=true task=multilabel" in raised.value.mend
