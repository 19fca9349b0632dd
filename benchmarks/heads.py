"""Every head on one backbone: size, computation, time of a training step, and mIoU after the same short training.

    python -m benchmarks.heads --output runs/heads

Steps are timed in one process, heads in turn, so that they share what else the machine does; the median over the
repeats is shown, in milliseconds and relative to fpn. Trainings are runs of `python train.py` with `max_steps`, on the
generated scenes. One that is finished in the output folder is read and not repeated, one that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional

from benchmarks.composed import Config, composed
from benchmarks.computation import giga_multiplications
from benchmarks.sides import PEER, SIDES
from benchmarks.timing import in_turn
from coatseg.commands.fit import fit
from coatseg.commands.terminal.composition import choices
from coatseg.commands.terminal.console import quiet_libraries
from coatseg.config.build import build_model
from coatseg.config.data import build_data
from coatseg.config.read import read
from coatseg.config.sections import named
from coatseg.models.backbones.timm import TimmBackbone
from coatseg.models.model import Model
from coatseg.registry.names import make
from coatseg.structures import DatasetInfo, parameter_count
from coatseg.system.atomic import whole_file

BACKBONE = "coat_lite_tiny"
REFERENCE = "fpn"
COUNTED_SIZE = (512, 512)


def configuration(head: str, *overrides: str) -> Config:
    """Return the configuration that `python train.py data=scenes head=HEAD ...` would compose."""
    return composed(f"backbone={BACKBONE}", f"head={head}", "data=scenes", "logger=none", *overrides)


def computation(model: Model) -> float:
    """Return the MACs for one image, in units of 1e9, counted on timm's backbone, which has no fused operations."""
    backbone = TimmBackbone(SIDES[PEER](BACKBONE, COUNTED_SIZE), BACKBONE, in_channels=3)
    return giga_multiplications(Model(backbone, model.head), 1, COUNTED_SIZE)["forward"]


def training_step(model: Model, config: Config, info: DatasetInfo) -> Callable[[], None]:
    """Return a function that does one step, forward, backward and optimizer, on random images in the scenes' shape."""
    shape = (config["data"]["batch_size"], *config["data"]["size"])
    images, labels = torch.randn(shape[0], 3, *shape[1:]), torch.randint(len(info.classes), shape)
    optimizer = make("optimizer", *named(config["optimizer"], "optimizer"), "optimizer", model=model.train())

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(model(images).logits, labels).backward()
        optimizer.step()

    return step


def score(head: str, steps: int, seed: int, output: Path) -> float:
    """Return the mIoU of a training; it is read from the result if the training is finished."""
    name = f"{head}-{steps}_steps-seed_{seed}"
    result = output / name / "result.json"
    if not result.is_file():
        overrides = (f"name={name}", f"output={output}", "resume=auto", f"seed={seed}", "trainer.max_epochs=-1")
        summary = fit(configuration(head, *overrides, f"trainer.max_steps={steps}")).summary()
        with whole_file(result) as file:
            file.write(json.dumps(summary).encode())
    return float(json.loads(result.read_text())["mIoU"])


def shown_scores(scores: list[float]) -> str:
    """Return the mean in words, with the least and greatest score if there are several."""
    mean = f"{statistics.mean(scores):.3f}"
    return mean if len(scores) == 1 else f"{mean} ({min(scores):.3f} to {max(scores):.3f})"


def main() -> None:
    """Measure, train, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300, help="optimizer steps of each training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="one training each")
    parser.add_argument("--repeats", type=int, default=20, help="timed steps of each head")
    parser.add_argument("--output", type=Path, default=Path("runs/heads"))
    parser.add_argument("--only", nargs="+", choices=choices("head"), default=choices("head"), metavar="HEAD")
    arguments = parser.parse_args()
    quiet_libraries()

    configs = {head: configuration(head) for head in dict.fromkeys([REFERENCE, *arguments.only])}
    info = build_data(read(configs[REFERENCE])).info
    models = {head: build_model(read(config).task, info) for head, config in configs.items()}
    millions = {head: parameter_count(model) / 1e6 for head, model in models.items()}
    multiplications = {head: computation(model) for head, model in models.items()}
    steps = {head: training_step(model, configs[head], info) for head, model in models.items()}
    seconds = {head: statistics.median(times) for head, times in in_turn(steps, arguments.repeats).items()}
    del models, steps
    scores = {
        head: [score(head, arguments.steps, seed, arguments.output) for seed in arguments.seeds]
        for head in arguments.only
    }

    data = configs[REFERENCE]["data"]
    height, width = data["size"]
    print(f"\n{BACKBONE}, {data['batch_size']} images of {height}x{width} a step, {torch.get_num_threads()} threads\n")
    print(f"| head | parameters (M) | GMACs at 512x512 | step (ms) | to {REFERENCE} | mIoU, {arguments.steps} steps |")
    print("|---|---:|---:|---:|---:|---:|")
    for head in arguments.only:
        numbers = f"{millions[head]:.1f} | {multiplications[head]:.1f} | {1000 * seconds[head]:.0f}"
        ratio = seconds[head] / seconds[REFERENCE]
        print(f"| {head} | {numbers} | {ratio:.2f} | {shown_scores(scores[head])} |")


if __name__ == "__main__":
    main()
