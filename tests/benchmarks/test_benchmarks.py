"""The benchmarks count, compare and print right, and each runs; how long anything takes is not tested."""

from __future__ import annotations

import argparse
import json
import mmap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks import (
    agreement,
    backbone,
    large_images,
    loading,
    loop,
    memory,
    onnx,
    query,
    readers,
    slides,
    timing,
    training,
)
from benchmarks.alone import Measured
from benchmarks.computation import giga_multiplications
from benchmarks.machine import machine_facts, told
from benchmarks.memory import for_four_times
from benchmarks.options import parse, parser, shown, size
from benchmarks.sides import OURS, PEER, largest_difference, pair
from benchmarks.tables import Table, megabytes, milliseconds, publish
from benchmarks.timing import Ratio, in_turn, speedup
from coatseg.system import measuring
from tests.results.checkpoints import OBJECTS, SEMANTIC, write_checkpoint

Main = Callable[[Sequence[str]], None]


def test_sides_take_turns_and_the_warm_up_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    calls: list[str] = []
    seconds = in_turn({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=2, warm_up=1)
    assert calls == ["a", "b", "b", "a", "a", "b"]
    assert seconds == {"a": [1, 1], "b": [1, 1]}


def test_a_ratio_is_of_medians_and_its_spread_of_rounds() -> None:
    ratio = speedup([3.0, 4.0, 100.0], [2.0, 1.0, 2.0])  # the rounds: 1.5, 4, 50
    assert ratio == (2.0, 2.75, 27.0)
    assert str(ratio) == "2.00 (2.75 to 27.00)"
    assert speedup([3.0], [2.0]) == Ratio(1.5, 1.5, 1.5)


def test_growth_is_told_for_four_times_the_pixels() -> None:
    small, large = Measured([1.0, 2.0, 9.0], 100), Measured([4.0, 4.0, 4.0], 200)
    twice = for_four_times(((256, 256), small), ((256, 512), large))
    assert twice == {"time_growth": pytest.approx(4), "memory_growth": pytest.approx(4)}
    four_times = for_four_times(((256, 256), small), ((512, 512), large))
    assert four_times == {"time_growth": pytest.approx(2), "memory_growth": pytest.approx(2)}


def test_a_table_is_printed_and_all_of_it_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = {"side": lambda row: row["side"], "time (ms)": lambda row: milliseconds(row["seconds"][0])}
    records = [{"side": "a", "seconds": [0.0123, 1.0]}, {"side": "b", "seconds": [0.2]}]
    output = tmp_path / "folder" / "x.json"
    publish("x", "a against b.", [Table("Times", columns, records)], argparse.Namespace(output=output, repeats=2))
    out = capsys.readouterr().out
    assert "Times\n\n| side | time (ms) |\n| --- | ---: |\n| a | 12.3 |\n| b | 200 |\n" in out
    assert "a against b." in out
    content = json.loads(output.read_text())
    assert content["tables"] == [{"title": "Times", "records": records}]
    assert content["settings"]["repeats"] == 2
    assert content["machine"] == machine_facts()
    assert told(content["machine"]) in out


def test_the_machine_is_told_with_what_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    facts = machine_facts()
    assert facts["versions"].keys() == {"torch", "timm", "smp", "albumentations", "coatseg"}
    assert f"{torch.get_num_threads()} threads" in told(facts)
    assert "MALLOC_ARENA_MAX=1" in told(facts)
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Fast 9000\n" * 2)
    assert measuring.cpu_model(tmp_path / "cpuinfo") == "Fast 9000"
    assert measuring.cpu_model(tmp_path / "nothing")


def test_the_quick_version_changes_what_is_not_typed() -> None:
    def typed(*argv: str) -> tuple[Any, ...]:
        made = parser("x", "An example.", repeats=10)
        made.add_argument("--size", type=size, default=(512, 512))
        arguments = parse(made, {"size": (64, 64), "repeats": 1}, [*argv, f"--threads={torch.get_num_threads()}"])
        return arguments.size, arguments.repeats

    assert typed() == ((512, 512), 10)
    assert typed("--quick") == ((64, 64), 1)
    assert typed("--quick", "--size=32x48") == ((32, 48), 1)
    assert shown(size("32x48")) == "32x48"


def test_units() -> None:
    assert [milliseconds(seconds) for seconds in (0.0012, 0.0999, 1.5)] == ["1.2", "99.9", "1500"]
    assert megabytes(3 * 2**20) == "3"


def test_multiplications_are_counted_without_computing() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=8)

        def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
            first = self.first(images)
            return [first, self.second(first)]

    model = Twice()
    counted = giga_multiplications(model, 2, (10, 20))
    forward = 400 * (3 * 8 + 8) * 9 / 1e9
    assert counted == {"forward": pytest.approx(forward), "training step": pytest.approx(3 * forward)}
    assert next(model.parameters()).device.type == "cpu"


def test_both_sides_compute_the_same() -> None:
    models = pair("coat_lite_tiny", (64, 96))
    assert largest_difference(models[OURS], models[PEER], torch.randn(1, 3, 64, 96)) < 1e-5
    nn.init.zeros_(models[PEER].get_parameter("model.patch_embed1.proj.weight"))
    assert largest_difference(models[OURS], models[PEER], torch.randn(1, 3, 64, 96)) > 1e-3


def test_the_peak_is_that_since_its_reset() -> None:
    before = measuring.reset_peak()
    with mmap.mmap(-1, 64 * 2**20) as buffer:  # new pages: an array could get those that other tests have freed
        for page in range(0, len(buffer), mmap.PAGESIZE):
            buffer[page] = 1
    assert 60 * 2**20 < measuring.resident_memory("VmHWM") - before < 80 * 2**20
    assert measuring.resident_memory("VmHWM") - measuring.reset_peak() >= 0
    assert measuring.resident_memory("VmHWM") - measuring.resident_memory("VmRSS") < 2**20


TINY = ("--variants=coat_lite_tiny", "--repeats=1", "--batch=1")
LEFT = ("--allocator=default", "--size=64x64", "--repeats=1")
QUERY = (
    "--variant=coat_lite_tiny", "--small", "--size=128x128", "--repeats=1", "--allocator=default", "--steps=2",
    "--val-images=2",
)  # fmt: skip
QUERIED, LEARNT = ["| maskformer, float32 |", "of transformers'"], ["on timm's CoaT (ms)", "box_AP50"]
SWEPT = pytest.mark.sweep  # models of the library's default sizes


@pytest.mark.parametrize(
    ("main", "arguments", "columns"),
    [
        (backbone.main, (*TINY, *LEFT, "--parts=turns"), ["| ratio |", "of the best rate"]),
        (memory.main, (*TINY, *LEFT, "--parts=peak", "--precisions=float32", "--sides=coatseg"), ["peak (MB)"]),
        (training.main, (*LEFT, "--batch=2"), ["| float32 |", "| bf16 |"]),
        (loading.main, ("--images=4", "--repeats=1", "--batch=2", "--workers=0"), ["| coatseg |", "plain, same steps"]),
        (
            loop.main,
            ("--images=2", "--repeats=1", "--batch=2", "--crop=64x64", "--allocator=default", "--precisions=float32"),
            ["| float32 |", "coatseg (ms a step)"],
        ),
        (large_images.main, ("--sizes=96x700", "--classes=3", "--files=tif"), ["inference.flip=true"]),
        (readers.main, ("--images=2", "--repeats=1"), [f"| {name} |" for name in readers.WRITERS]),
        (slides.main, ("--side=1024", "--windows=2", "--repeats=1"), ["| coatseg |", "| rasterio |"]),
        (onnx.main, ("--variants=coat_lite_tiny", "--heads=fpn", "--sizes=64x64", *LEFT[::2]), ["| fpn on"]),
        pytest.param(query.main, (*QUERY, "--heads=maskformer", "--parts", "turns", "peak"), QUERIED, marks=SWEPT),
        pytest.param(query.main, (*QUERY, "--heads=rtdetr", "--parts", "timm", "scores"), LEARNT, marks=SWEPT),
    ],
    ids=[
        "turns", "peak", "training", "loading", "loop", "large images", "readers", "slides", "onnx", "query", "learnt",
    ],
)  # fmt: skip
def test_every_question_is_asked_and_answered(
    main: Main, arguments: tuple[str, ...], columns: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "x.json"
    main([*arguments, f"--threads={torch.get_num_threads()}", f"--output={output}"])
    out = capsys.readouterr().out
    assert all(column in out for column in columns)
    tables = json.loads(output.read_text())["tables"]
    assert all(table["records"] for table in tables)


@pytest.mark.parametrize(("options", "unit"), [(SEMANTIC, "pixels"), (OBJECTS, "objects")], ids=["pixels", "objects"])
def test_every_way_to_predict_gives_the_same(
    options: tuple[str, ...], unit: str, composed: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    write_checkpoint(tmp_path / "a.ckpt", composed(*options))
    output = tmp_path / "x.json"
    agreement.main([str(tmp_path / "a.ckpt"), f"--threads={torch.get_num_threads()}", f"--output={output}"])
    rows = json.loads(output.read_text())["tables"][0]["records"]
    assert len(rows) == 3
    for row in rows:
        assert row["unit"] == unit
        assert row["compared"] > 0
        assert row["alike"] >= 0.9999
        assert row["masks"] is None or row["masks"] >= 0.9999


def test_as_shipped_each_side_has_its_own_allocator(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = {(OURS, "kept"): 0.1, (OURS, "default"): 0.2, (PEER, "kept"): 0.3, (PEER, "default"): 0.6}
    monkeypatch.setattr(backbone, "alone", lambda task: Measured([seconds[task.side, task.allocator]], 0))
    backbone.main([*TINY, "--parts=processes", "--precisions=bf16", f"--output={tmp_path / 'x.json'}"])
    out = capsys.readouterr().out
    assert "| coatseg kept, timm default (as shipped) | 600 | 100 | 6.00 (6.00 to 6.00) |" in out
    assert "| coatseg, default to kept | 200 | 100 | 2.00 (2.00 to 2.00) |" in out
    assert "| timm, default to kept | 600 | 300 | 2.00 (2.00 to 2.00) |" in out


def test_growth_is_measured_from_size_to_size(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "alone", lambda task: Measured([task.size[0] / 1000], 2**20 * task.size[0]))
    memory.main([*TINY, "--parts=growth", "--sizes", "64x64", "128x128", f"--output={tmp_path / 'x.json'}"])
    out = capsys.readouterr().out
    assert "| coat_lite_tiny, float32 | forward, coatseg | 64x64 | 64.0 | 64 |  |  |" in out
    assert "| coat_lite_tiny, bf16 | training step, timm | 128x128 | 128 | 128 | 2.00 | 2.00 |" in out


def test_the_plain_loader_gives_what_ours_gives(tmp_path: Path) -> None:
    root = loading.write_scenes(tmp_path, 2, (360, 480))
    config = loading.configuration(root, 0, 2)
    batches = {side: next(iter(loader)) for side, loader in loading.sides(config, root).items()}
    ours = batches.pop(OURS)
    assert ours.images.shape == (2, 3, 384, 480)
    for images, labels in batches.values():
        assert (images.shape, images.dtype) == (ours.images.shape, ours.images.dtype)
        assert labels.shape == (2, 384, 480)
        assert set(labels.unique().tolist()) <= {*range(9), 11}
