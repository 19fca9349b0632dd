from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import coatseg
from coatseg.config.build import check_task_fits, total_steps
from coatseg.config.data import build_data, open_split
from coatseg.config.plan import Choice
from coatseg.config.read import read, read_data
from coatseg.data.datasets.ade20k import ADE20K
from coatseg.data.datasets.camvid import CamVid
from coatseg.data.datasets.folder import Folder
from coatseg.errors import ConfigError
from coatseg.models.backbones.variants import VARIANTS
from coatseg.registry import names
from coatseg.registry.names import table
from coatseg.structures import Dataset, Sample
from tests.data.generate import write_camvid, write_folder


def test_every_variant_has_a_name() -> None:
    assert set(VARIANTS) < set(coatseg.list_backbones())


def test_backbones_are_made_by_name_with_options() -> None:
    backbone = coatseg.create_backbone("coat_tiny", in_channels=4, co_scale="none")
    assert [level.stride for level in backbone.levels] == [4, 8, 16, 32]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("coat_smal", {}, "Did you mean coat_small"),
        ("coat_small", {"drop_pth": 0.1}, "Did you mean drop_path"),
        ("coat_small", {"drop_path": "much"}, "drop_path=much does not fit"),
        ("coat_small", {"co_scale": "no"}, "co_scale=no does not fit"),
    ],
)
def test_wrong_names_and_options_are_answered_with_the_nearest(
    name: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        coatseg.create_backbone(name, **options)  # type: ignore[arg-type]


def test_a_constructor_of_ones_own_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(names._tables, "backbone", dict(table("backbone")))

    @coatseg.register("backbone", "mine")
    def mine(*, depth: int = 3) -> str:
        return f"depth {depth}"

    assert coatseg.create_backbone("mine", depth=5) == "depth 5"  # type: ignore[comparison-overlap]
    with pytest.raises(ConfigError, match="registered already"):
        coatseg.register("backbone", "mine")(lambda: None)
    with pytest.raises(ConfigError, match="no kind"):
        coatseg.register("bakbone", "mine")


@pytest.mark.parametrize(
    ("trainer", "steps"),
    [
        ({"max_epochs": 3}, 30),
        ({"max_steps": 7}, 7),
        ({"max_epochs": 3, "max_steps": 50}, 30),
        ({"max_epochs": -1, "max_steps": 5}, 5),
    ],
)
def test_the_shorter_of_epochs_and_steps_ends_a_run(trainer: dict[str, int], steps: int) -> None:
    assert total_steps(trainer, steps_per_epoch=10) == steps


def test_a_run_without_an_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="no end"):
        total_steps({"max_epochs": -1, "max_steps": -1}, 10)


def test_another_split_may_train(composed: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    root = write_camvid(tmp_path)
    (root / "train.txt").unlink()
    data = build_data(read(composed("data=camvid", f"data.root={root}", "data.train_split=test")))
    assert [sample.id for sample in data.split("train")] == [sample.id for sample in CamVid(root, "test")]
    assert [sample.id for sample in data.split("val")] == [sample.id for sample in CamVid(root, "val")]


def opened(section: dict[str, Any], split: str) -> Dataset:
    return open_split(read_data(section, trains=False), split)


def test_a_split_is_opened_image_by_image(tmp_path: Path) -> None:
    write_folder(tmp_path, layout="folders", count=3, size=(64, 96))
    drawn = {"window": [32, 32], "windows_per_image": 4}
    section = {"name": "folder", "root": str(tmp_path), **drawn, "train_split": "val", "limit": 2}
    assert [sample.id for sample in samples(opened({**section, "train_split": "train"}, "train"))] == [
        sample.id for sample in samples(Folder(tmp_path, "train"))
    ][:2]
    assert samples(opened(section, "train"))[0].id == Folder(tmp_path, "val")[0].id
    assert opened(section, "val")[0].image.shape == (64, 96, 3)
    for wrong, says in (
        ({"limit": 0}, r"data\.limit=0 does not fit"),
        ({"window": "all"}, r"data\.window=all does not fit"),
        ({"windw": [32, 32]}, "Did you mean window"),
    ):
        with pytest.raises(ConfigError, match=says):
            opened({**section, **wrong}, "train")
    with pytest.raises(ConfigError, match="window is no option of camvid"):
        opened({"name": "camvid", "root": str(tmp_path), "window": [32, 32]}, "val")


def samples(dataset: Dataset) -> list[Sample]:
    return [dataset[index] for index in range(len(dataset))]


@pytest.mark.parametrize(
    ("needs", "named"),
    [("panoptic", "data=cityscapes and ade20k with data.panoptic=true"), ("multilabel", "data.layers=true"),
     ("boxes", "coco_json"), ("instances", "data.instances=true"), ("depth", "")],
)  # fmt: skip
def test_a_task_without_its_truth_names_data_that_has_it(needs: str, named: str) -> None:
    choice = Choice("task", "mine", {}, type("Mine", (), {"needs": needs}), "task")
    with pytest.raises(ConfigError, match=rf"needs {needs} labels; data=\w+ has semantic") as raised:
        check_task_fits(choice, ADE20K.info)
    assert named in raised.value.mend
    assert raised.value.mend.startswith("Choose a task that these labels serve, or other data")
