"""`coatseg features`, as a user types it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from coatseg import commands, read_features
from coatseg.commands import feature_options
from coatseg.commands.fit import FOLDER_VARIABLE, fit
from tests.conftest import ROOT, TINY
from tests.data.slides import SIZES, write_svs

Composed = Callable[..., dict[str, Any]]
Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Type a command, and give its exit code and what it says on both streams."""

    def run(*arguments: object) -> tuple[int, str, str]:
        words = [str(word) for word in arguments]
        usual = [
            word
            for word in ("trainer.accelerator=cpu", "keep_memory=false")
            if words and not any(given.startswith(word.partition("=")[0]) for given in words)
        ]
        monkeypatch.setattr(sys, "argv", ["coatseg", "features", *words, *usual])
        capsys.readouterr()
        try:
            commands.main()
        except SystemExit as error:
            return int(error.code or 0), *capsys.readouterr()
        return 0, *capsys.readouterr()

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for number in range(4):
        Image.new("RGB", (64, 32 + 8 * number), (40 * number, 90, 200)).save(tmp_path / "in" / f"{number}.png")
    return tmp_path / "in"


def test_a_folder_through_a_named_backbone(typed: Typed, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["backbone=coat_lite_tiny", f"input={folder}", f"output={out}", "levels=[8,32]", "dtype=float16"]
    code, said, _ = typed(*words, "pictures=true", "query=[10,5]")
    assert code == 0
    assert "random weights" in said
    assert "4 of 4 images, in" in said
    assert read_features(out)["3", 8].shape == (128, 7, 8)
    assert read_features(out)["3", 8].dtype == np.float16
    assert cv2.imread(str(out / "pictures" / "3.png")).shape[1] > 3 * 320
    code, said, _ = typed(*words, "pictures=true", "query=[10,5]")
    assert code == 0
    assert "1 of 1 shards are there already" in said
    code, _, error = typed(*words)
    assert code == 2
    assert "pictures True there, False now" in error
    code, _, error = typed(*words, "pictures=true", "query=[10,5]", "backbone.drop_path=0.1")
    assert code == 2
    assert "backbone.drop_path None there, 0.1 now" in error


def test_a_level_of_slides(typed: Typed, tmp_path: Path) -> None:
    write_svs(tmp_path / "in" / "a.svs")
    words = ["backbone=coat_lite_tiny", f"input={tmp_path / 'in'}", f"output={tmp_path / 'out'}", "levels=[8]"]
    assert typed(*words, "level=1")[0] == 0
    assert read_features(tmp_path / "out")["a", 8].shape == (128, SIZES[1][0] // 8, SIZES[1][1] // 8)
    code, _, error = typed(*words, "level=2")
    assert code == 2
    assert "level 1 there, 2 now" in error
    code, _, error = typed(*words, "level=1", "microns=2")
    assert "both choose a level" in error


def test_exit_code_1_says_that_files_were_skipped(typed: Typed, folder: Path, tmp_path: Path) -> None:
    (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:60])
    (folder / "notes.txt").write_text("no image")
    words = ["backbone=coat_lite_tiny", f"input={folder}", f"output={tmp_path / 'out'}"]
    for _ in range(2):
        code, said, _ = typed(*words)
        assert code == 1
        assert f"skipped: {folder}/cut.png" in said
        assert "notes.txt" in said
        assert "4 of 5 images, 1 skipped, in" in said


def test_a_checkpoint_s_head_backbone_and_data(
    typed: Typed, composed: Composed, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    fit(composed(*TINY, "name=mine", "trainer.max_steps=1", "trainer.accelerator=cpu", "keep_memory=false"))
    checkpoint = f"checkpoint={tmp_path}/runs/mine/checkpoints/last.ckpt"
    code, said, _ = typed(checkpoint, f"input={folder}", f"output={tmp_path / 'head'}", "maps=head", "pictures=true")
    assert code == 0
    assert "fpn on coat_lite_tiny" in said
    head = read_features(tmp_path / "head")
    assert (head.strides, head["1", 4].shape) == ((4,), (32, 10, 16))
    assert typed(checkpoint, "split=val", f"output={tmp_path / 'own'}")[0] == 0
    own = read_features(tmp_path / "own")
    assert len(own.ids) == 3
    scenes = ["data=scenes", "data.size=[64,64]", "data.val_images=3", "data.limit=2"]
    assert typed(checkpoint, *scenes, f"output={tmp_path / 'named'}")[0] == 0
    named = read_features(tmp_path / "named")
    assert named.ids == own.ids[:2]
    np.testing.assert_array_equal(named[named.ids[0], 4], own[own.ids[0], 4])
    settings = json.loads((tmp_path / "named" / "features.json").read_text())
    stated = [key for key in settings if key.startswith("data.")]  # in an order that folders begun earlier have, too
    assert stated == [
        "data.name",
        "data.size",
        "data.train_images",
        "data.val_images",
        "data.limit",
        "data.train_split",
    ]
    resized = [*scenes, "data.evaluation_resize=[32,48]", f"output={tmp_path / 'resized'}"]
    assert [typed(checkpoint, *resized)[0] for _ in range(2)] == [0, 0]
    for key, there, now in (("data.size", [64, 64], [64, 96]), ("data.evaluation_resize", [32, 48], [40, 48])):
        code, _, error = typed(checkpoint, *resized, f"{key}={now}".replace(" ", ""))
        assert code == 2
        assert f"{'resized_to' if 'resize' in key else key} {there} there, {now} now" in error
    code, _, error = typed(checkpoint, "split=val", f"output={tmp_path / 'x'}", "pretrained=true")
    assert code == 2
    assert "pretrained= does not go with checkpoint=" in error


def in_two_processes(*words: str) -> subprocess.CompletedProcess[str]:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}
    program = [sys.executable, "-c", "from coatseg.commands import main; main()", "features", *words]
    trainer = ["trainer.accelerator=cpu", "trainer.devices=2"]
    return subprocess.run([*program, *trainer], env=environment, capture_output=True, text=True, check=False)


def test_two_processes_write_what_one_does(typed: Typed, folder: Path, tmp_path: Path) -> None:
    words = ["backbone=coat_lite_tiny", f"input={folder}", "shard_images=1"]
    done = in_two_processes(*words, f"output={tmp_path / 'two'}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("4 of 4 images, in") == 1
    assert typed(*words, f"output={tmp_path / 'one'}")[0] == 0
    one, two = read_features(tmp_path / "one"), read_features(tmp_path / "two")
    assert (tmp_path / "one" / "manifest.jsonl").read_bytes() == (tmp_path / "two" / "manifest.jsonl").read_bytes()
    for key in one:
        np.testing.assert_allclose(one[key], two[key], atol=1e-5)


TWICE = """
from dataclasses import replace

import coatseg
from coatseg.scenes.dataset import Scenes


@coatseg.register("dataset", "twice")
class Twice(Scenes):
    def __init__(self, split: str) -> None:
        super().__init__(split, size=(32, 32), val_images=4)

    def __getitem__(self, index):
        return replace(super().__getitem__(index), id="abcc"[index])
"""


def test_an_error_of_the_second_process_is_told_by_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "twice.py").write_text(TWICE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    words = ["backbone=coat_lite_tiny", "plugins=[twice]", "data.name=twice", "shard_images=2"]
    done = in_two_processes(*words, f"output={tmp_path / 'out'}")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error: Two images have the id c") == 1


HERE = ("backbone=coat_lite_tiny", "input=.", "output=maps")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["output=maps"], "Which model?"),
        (["backbone=coat_lite_tiny", "checkpoint=a.ckpt", "input=.", "output=maps"], "are two models"),
        (["backbone.drop_path=0.1", "input=.", "output=maps"], "Give backbone=NAME"),
        (["backbone=coat_lite_tiny", "output=maps"], "Which images?"),
        (["backbone=coat_lite_tiny", "input=."], "Where to?"),
        ([*HERE, "split=val"], "are two sets of images"),
        (["backbone=coat_lite_tiny", "split=val", "output=maps"], "no data of its own"),
        ([*HERE, "level=[4]"], "Did you mean levels?"),
        ([*HERE, "levels=[5]"], "no map of stride 5"),
        ([*HERE, "levels=4"], "levels=4 does not fit"),
        ([*HERE, "format=npz"], "format=npz does not fit.\nInput should be 'safetensors', 'npy' or 'zarr'"),
        ([*HERE, "dtype=float64"], "'float32' or 'float16'"),
        ([*HERE, "maps=head"], "maps= does not go with backbone=, which has no head"),
        ([*HERE, "query=[1,2]"], "Add pictures=true"),
        ([*HERE, "pictures=true", "query=[1.5,0.5]"], "lies beyond every image"),
        ([*HERE, "pictures=true", "query=[1,2,3]"], "Give [x,y] in whole pixels"),
        ([*HERE, "mean=[0.5]"], "not of the same channels"),
        ([*HERE, "mean=[0.5]", "std=[0]"], "greater than 0"),
        ([*HERE, "batch_size=0"], "greater than 0"),
        ([*HERE, "trainer.max_epochs=3"], "trainer.max_epochs means nothing here"),
        ([*HERE, "trainer.strategy=foo"], "trainer.strategy=foo does not fit.\nChoices: auto, ddp."),
        ([*HERE, "trainer.accelerator=foo"], "trainer: "),
        ([*HERE, "trainer.devices=0"], "trainer: "),
        ([*HERE, "trainer.devices=-1"], "trainer: "),
        ([*HERE, "trainer.devices=x"], "trainer: "),
        ([*HERE, "trainer.num_nodes=0"], "trainer: "),
        ([*HERE, "trainer.precision=64"], "trainer.precision=64 does not fit"),
        ([*HERE, "words"], "not of the form KEY=VALUE"),
        ([*HERE, "levels=[4"], "Close every bracket"),
        (["backbone=coat_lite_tyni", "input=.", "output=maps"], "Did you mean coat_lite_tiny?"),
        (["backbone=coat_lite_tiny", "backbone.widht=3", "input=.", "output=maps"], "is no option of coat_lite_tiny"),
        (["backbone=coat_lite_tiny", "input=.", "output=maps"], "has no image"),
        (["backbone=coat_lite_tiny", "input=nowhere", "output=maps"], "input=nowhere names no file"),
        (["backbone=coat_lite_tiny", "input=nowhere://x", "output=maps"], "cannot be"),
        (["backbone=coat_lite_tiny", "input=.", "output=nowhere://x"], "nowhere://x cannot be reached"),
        (["backbone=coat_lite_tiny", "data=camvit", "output=maps"], "Did you mean camvid?"),
        (["checkpoint=nothing.ckpt", "input=.", "output=maps"], "There is no checkpoint at nothing.ckpt"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_word(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, error = typed(*arguments)
    assert code == 2
    assert says in error
    assert len(error.strip().splitlines()) <= 2
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_zarr_that_is_not_installed(typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coatseg.results.features.formats.find_spec", lambda name: None)
    code, _, error = typed("backbone=coat_lite_tiny", f"input={tmp_path}", f"output={tmp_path}", "format=zarr")
    assert code == 2
    assert 'pip install "coatseg[zarr]"' in error


def test_help_names_every_key(typed: Typed) -> None:
    code, said, _ = typed()
    assert code == 0
    assert all(key in said for key in (*feature_options.OWN, *feature_options.SECTIONS))
