"""The options of `coatseg features`: their types and defaults, and which of them go together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from annotated_types import Len

from coatseg.commands.terminal.arguments import check_machine_keys, read_keys
from coatseg.errors import ConfigError, nearest
from coatseg.registry.options import NonNegativeInt, PositiveFloat, PositiveInt, fitting, legal
from coatseg.structures import IMAGENET_MEAN, IMAGENET_STD

Format = Literal["safetensors", "npy", "zarr"]
SizePair = Annotated[
    tuple[int, int] | tuple[float, float],
    legal("Give [x,y] in whole pixels, or as shares from 0 to 1 such as [0.5,0.5]"),
]
OWN: dict[str, tuple[Any, Any]] = {
    "checkpoint": (str | None, None),
    "input": (str | None, None),
    "output": (str | None, None),
    "split": (str | None, None),
    "pretrained": (bool | str, False),
    "mean": (Annotated[tuple[float, ...], Len(1)] | None, None),
    "std": (Annotated[tuple[PositiveFloat, ...], Len(1)] | None, None),
    "maps": (Literal["backbone", "head"], "backbone"),
    "levels": (list[PositiveInt] | None, None),
    "format": (Format, "safetensors"),
    "dtype": (Literal["float32", "float16"], "float32"),
    "pictures": (bool, False),
    "query": (SizePair | None, None),
    "batch_size": (PositiveInt, 4),
    "shard_images": (PositiveInt, 64),
    "workers": (NonNegativeInt | None, None),
    "max_pixels": (PositiveFloat, 1e9),
    "level": (Annotated[NonNegativeInt | None, legal("A slide's level is one number. Did you mean levels?")], None),
    "microns": (PositiveFloat | None, None),
    "plugins": (list[str], []),
    "keep_memory": (bool, True),
}
"""The keys that this command alone has, with their types and defaults."""
ADDRESSES = ("checkpoint", "input", "output")
SECTIONS = ("backbone", "data", "trainer")
TRAINER = {"accelerator": "auto", "devices": 1, "strategy": "auto", "num_nodes": 1, "precision": "32-true"}
CHOICES = {"precision": ("32-true", "bf16-mixed", "16-mixed", "auto"), "strategy": ("auto", "ddp")}
"""The values allowed for these keys of the trainer; processes share nothing but the work, whatever the strategy."""


def read_arguments(arguments: list[str]) -> dict[str, Any]:
    """Read KEY=VALUE arguments and fill in the defaults; paths need no quotes.

    Raises:
        ConfigError: a key is unknown, a value does not fit, or keys do not go together.
    """
    # A backbone is a registered name, which need not have a file.
    named = [
        argument.replace("backbone=", "backbone.name=", 1) if argument.startswith("backbone=") else argument
        for argument in arguments
    ]
    options = read_keys(
        named,
        "features",
        OWN,
        "input=photos output=maps",
        sections=SECTIONS,
        groups=("data",),
        verbatim=ADDRESSES,
    )
    own = {key: fitting(options.get(key, default), hint, key) for key, (hint, default) in OWN.items()}
    return check_combination({**own, **{section: options.get(section) or {} for section in SECTIONS}})


def check_combination(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options with the trainer's defaults filled in; raise ConfigError if some do not go together."""
    if options["output"] is None:
        raise ConfigError("Where to?", "Give output=DIR.")
    check_model(options)
    check_images(options)
    check_query(options["query"], options["pictures"])
    check_machine_keys(options["trainer"])
    trainer = {**TRAINER, **options["trainer"]}
    for key, choices in CHOICES.items():
        if str(trainer[key]) not in choices:
            raise ConfigError(f"trainer.{key}={trainer[key]} does not fit.", nearest(str(trainer[key]), choices))
    return {**options, "trainer": trainer}


def check_model(options: Mapping[str, Any]) -> None:
    """Raise ConfigError unless exactly one model is given, and for options that this model does not take."""
    given = [key for key in ("checkpoint", "backbone") if options[key]]
    if len(given) != 1:
        raise ConfigError(
            "Which model?" if not given else "checkpoint= and backbone= are two models.",
            "Give checkpoint=runs/NAME/checkpoints/best.ckpt, or backbone=NAME with pretrained=true or a path.",
        )
    named = given == ["backbone"]
    if named and "name" not in options["backbone"]:
        raise ConfigError("backbone.KEY=VALUE sets options of a backbone without a name.", "Give backbone=NAME.")
    foreign = (
        {"maps": "which has no head"} if named else dict.fromkeys(("pretrained", "mean", "std"), "which has its own")
    )
    for key, why in foreign.items():
        if options[key] != OWN[key][1]:
            raise ConfigError(f"{key}= does not go with {given[0]}=, {why}.", f"Leave {key} out.")
    if len(options["mean"] or IMAGENET_MEAN) != len(options["std"] or IMAGENET_STD):
        raise ConfigError("mean= and std= are not of the same channels.", "Give one number a channel in both.")


def check_images(options: Mapping[str, Any]) -> None:
    """Raise ConfigError unless exactly one set of images is given."""
    from_data = bool(options["data"] or options["split"])
    if from_data == (options["input"] is not None):
        raise ConfigError(
            "Which images?" if not from_data else "input= and data= or split= are two sets of images.",
            "Give input=DIR, a file or a pattern; or data=NAME split=val.",
        )
    if from_data and "name" not in options["data"] and options["checkpoint"] is None:
        raise ConfigError("backbone=NAME has no data of its own.", "Give data=NAME.")


def check_query(query: Sequence[float] | None, pictures: bool) -> None:
    """Raise ConfigError for a query point beyond every image, or if there are no pictures to show it."""
    if query is None:
        return
    if not pictures:
        raise ConfigError("query= chooses a point of the pictures, and none are made.", "Add pictures=true.")
    whole = all(isinstance(value, int) for value in query)
    if min(query) < 0 or (not whole and max(query) > 1):
        raise ConfigError(
            f"query=[{query[0]},{query[1]}] lies beyond every image.",
            "Shares of width and height are from 0 to 1; pixels are whole numbers.",
        )
