"""`coatseg evaluate checkpoint=...`: the metrics of a checkpoint, from what it holds itself."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf

from coatseg.commands.composition import choices, config_folder
from coatseg.commands.console import friendly_errors, quiet_libraries, say
from coatseg.errors import ConfigError, nearest

USAGE = """Usage: coatseg evaluate checkpoint=PATH [split=val] [output=DIR] [data=NAME] [KEY=VALUE ...]

Prints the metrics of a checkpoint and a table per class. The checkpoint holds its configuration; the keys of its
data and trainer can be given anew, such as data.root=..., data.workers=2 or trainer.devices=2. Modules of your own
that it needs are named again, plugins=[NAME]: a checkpoint imports nothing by itself. With output=DIR, report.md and
a picture of the confusion matrix are written there."""

OWN = ("checkpoint", "split", "output", "plugins")
SECTIONS = ("data", "trainer")
ANYWHERE = {"accelerator": "auto", "devices": 1}
"""The trainer of a checkpoint may ask for a machine that is not this one; only its precision is kept."""


def main() -> None:
    """Read the command line and evaluate."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("--help", "-h"):
        print(USAGE)
        return
    with friendly_errors():
        evaluate_checkpoint(read_arguments(arguments))


def read_arguments(arguments: list[str]) -> dict[str, Any]:
    """Read KEY=VALUE arguments; a path needs no quotes here."""
    for argument in arguments:
        key, equals, _ = argument.partition("=")
        if not equals:
            raise ConfigError(
                f"{argument} is not of the form KEY=VALUE.", "For example checkpoint=runs/NAME/checkpoints/best.ckpt."
            )
        if key.partition(".")[0] not in (*OWN, *SECTIONS):
            raise ConfigError(
                f"{key} is no key of coatseg evaluate.", nearest(key.partition(".")[0], (*OWN, *SECTIONS))
            )
    # A bare data=NAME chooses a file of the group; what is nested goes on top of it.
    plain = [argument for argument in arguments if not argument.startswith("data=")]
    options = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.from_dotlist(plain)))
    names = [argument.removeprefix("data=") for argument in arguments if argument.startswith("data=")]
    if names:
        options["data"] = {**data_file(names[-1]), **options.get("data", {})}
    for section in SECTIONS:
        if not isinstance(options.get(section, {}), dict):
            raise ConfigError(f"{section}={options[section]} does not fit.", f"Set {section}.KEY=VALUE.")
    if "checkpoint" not in options:
        raise ConfigError("Which checkpoint?", "Give checkpoint=runs/NAME/checkpoints/best.ckpt.")
    return options


def data_file(name: str) -> dict[str, Any]:
    """Read the group file of a dataset."""
    if name not in choices("data"):
        raise ConfigError(f"data={name} is unknown.", nearest(name, choices("data")))
    path = config_folder() / "data" / f"{name}.yaml"
    return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(path), resolve=True))


def evaluate_checkpoint(options: Mapping[str, Any]) -> None:
    """Build what the checkpoint holds, score it on a split, print, and write if asked to."""
    from coatseg.build import build_data
    from coatseg.check import check
    from coatseg.restore import restore_task
    from coatseg.tasks.evaluation import evaluate
    from coatseg.training.checkpoints import RECORD, read_checkpoint
    from coatseg.training.report import terminal_table, write_report
    from coatseg.training.trainer import make_trainer

    quiet_libraries()
    path, split = Path(str(options["checkpoint"])), str(options.get("split", "val"))
    checkpoint = read_checkpoint(path)
    config = checkpoint[RECORD]["config"]
    named_anew = "name" in options.get("data", {})
    config = {
        **config,
        "data": options["data"] if named_anew else {**config["data"], **options.get("data", {})},
        "trainer": {**ANYWHERE, "precision": config["trainer"].get("precision", "auto"), **options.get("trainer", {})},
        "plugins": options.get("plugins", []),
    }
    check(config)
    data = build_data(config, split)
    task = restore_task(path, checkpoint, config, data.info)
    say(data.verify((split,)))
    trainer = make_trainer(config["trainer"])
    scores = evaluate(trainer, task, data, split)
    title = f"{config['head']['name']} on {config['backbone']['name']}, {data.info.name} {split}"
    say(terminal_table(scores, title))
    say(scores.headline())
    if "output" in options and trainer.is_global_zero:
        say(f"report: {write_report(Path(options['output']), scores, title, {'checkpoint': str(path)})}")


if __name__ == "__main__":
    main()
