"""`coatseg features checkpoint=... | backbone=NAME ...`: feature maps of many images, as files."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from annotated_types import Len
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from coatseg.commands.arguments import group_file
from coatseg.commands.console import first_process, friendly_errors, quiet_libraries, say
from coatseg.errors import ConfigError, nearest
from coatseg.schema import PositiveFloat, PositiveInt, fitting, legal
from coatseg.structures import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:  # importing them takes seconds, which --help has not
    from coatseg.results.feature_images import FeatureImages
    from coatseg.results.feature_model import FeatureModel
    from coatseg.results.feature_pictures import FeaturePictures
    from coatseg.results.places import Place

USAGE = """Usage: coatseg features checkpoint=PATH|backbone=NAME input=DIR|FILE|GLOB output=DIR [KEY=VALUE ...]
       coatseg features checkpoint=PATH|backbone=NAME data=NAME split=val output=DIR [KEY=VALUE ...]

Writes the feature maps of all images below a folder, or of a split of a dataset, with a manifest of them. Images keep
their size and are normalised as in evaluation. input and output may be addresses of fsspec's, such as s3://bucket/maps.
Started again with the same words it goes on where it stopped. An image that cannot be read is named and skipped, and
the exit code is then 1.

  pretrained=true|PATH          weights of backbone=NAME; backbone.KEY=VALUE sets its other options
  mean=[...] std=[...]          how images of backbone=NAME are normalised, 0.485 and so on of ImageNet by default
  data.KEY=VALUE split=val      the dataset; with checkpoint=, split= alone takes the checkpoint's own data
  maps=backbone|head            the backbone's levels, or the last maps of the head before its classifier
  levels=[4,16]                 strides of the maps to keep; all by default
  format=safetensors|npy|zarr   shards, a file a map, or a Zarr group (pip install "coatseg[zarr]")
  dtype=float32|float16         of the stored maps
  pictures=true query=[0.5,0.5] principal components of each map as a picture; for CoaT the attention's response to a
                                point too, [x,y] in whole pixels or in shares of width and height
  batch_size=4 shard_images=64  images that go through the network together, and into a shard
  workers=N max_pixels=1e9      threads that read ahead; the size above which a file is refused as a bomb
  trainer.devices=2             processes, which share the shards; trainer.{accelerator,strategy,num_nodes,precision}
  plugins=[NAME] keep_memory=false

coatseg.read_features(DIR)[id, stride] gives a map back."""

Format = Literal["safetensors", "npy", "zarr"]
Pair = Annotated[
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
    "query": (Pair | None, None),
    "batch_size": (PositiveInt, 4),
    "shard_images": (PositiveInt, 64),
    "workers": (PositiveInt | None, None),
    "max_pixels": (PositiveFloat, 1e9),
    "plugins": (list[str], []),
    "keep_memory": (bool, True),
}
"""The keys of the command alone, with their types and defaults."""
ADDRESSES = ("checkpoint", "input", "output")
SECTIONS = ("backbone", "data", "trainer")
TRAINER = {"accelerator": "auto", "devices": 1, "strategy": "auto", "num_nodes": 1, "precision": "32-true"}
SHOWN = 20
"""How many of the skipped files are named."""
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "auto")


def main() -> None:
    """Read the command line and write the maps."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("--help", "-h"):
        print(USAGE)
        return
    with friendly_errors():
        skipped = write_features(read_arguments(arguments))
    if skipped and first_process():
        sys.exit(1)


def read_arguments(arguments: list[str]) -> dict[str, Any]:
    """Read KEY=VALUE arguments, with defaults; a path needs no quotes here.

    Raises:
        ConfigError: a key or value that cannot be.
    """
    known = (*OWN, *SECTIONS)
    for argument in arguments:
        key, equals, _ = argument.partition("=")
        if not equals:
            raise ConfigError(f"{argument} is not of the form KEY=VALUE.", "For example input=photos output=maps.")
        if key.partition(".")[0] not in known or (key.partition(".")[0] in OWN and "." in key) or key == "trainer":
            raise ConfigError(f"{key} is no key of coatseg features.", nearest(key.partition(".")[0], known))
    chosen = dict(argument.split("=", 1) for argument in arguments if argument.partition("=")[0] in SECTIONS)
    # Paths and patterns are taken as they are: brackets in them are no lists.
    plain = dict(argument.split("=", 1) for argument in arguments if argument.partition("=")[0] in ADDRESSES)
    rest = [argument for argument in arguments if argument.partition("=")[0] not in {**chosen, **plain}]
    try:
        options = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.from_dotlist(rest)))
    except (YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(
            f"The arguments cannot be read: {str(error).splitlines()[0]}.", "Close every bracket and quote."
        ) from error
    own = {key: fitting(options.get(key, default), hint, key) for key, (hint, default) in OWN.items()}
    own |= plain
    sections = {section: options.get(section) or {} for section in SECTIONS}
    if "data" in chosen:
        sections["data"] = {**group_file("data", chosen["data"]), **sections["data"]}
    if "backbone" in chosen:
        sections["backbone"] = {"name": chosen["backbone"], **sections["backbone"]}
    return check_combination({**own, **sections})


def check_combination(options: dict[str, Any]) -> dict[str, Any]:
    """Refuse keys that do not go together, and give the options with those of the trainer filled in."""
    if options["output"] is None:
        raise ConfigError("Where to?", "Give output=DIR.")
    check_model(options)
    check_images(options)
    check_query(options["query"], options["pictures"])
    for key in options["trainer"]:
        if key not in TRAINER:
            raise ConfigError(f"trainer.{key} means nothing here.", nearest(key, TRAINER))
    trainer = {**TRAINER, **options["trainer"]}
    precision = str(trainer["precision"])
    if precision not in PRECISIONS:
        raise ConfigError(f"trainer.precision={precision} does not fit.", nearest(precision, PRECISIONS))
    return {**options, "trainer": trainer}


def check_model(options: Mapping[str, Any]) -> None:
    """Refuse none or two models, and keys that are not for the one."""
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
    """Refuse none or two sets of images."""
    from_data = bool(options["data"] or options["split"])
    if from_data == (options["input"] is not None):
        raise ConfigError(
            "Which images?" if not from_data else "input= and data= or split= are two sets of images.",
            "Give input=DIR, a file or a pattern; or data=NAME split=val.",
        )
    if from_data and "name" not in options["data"] and options["checkpoint"] is None:
        raise ConfigError("backbone=NAME has no data of its own.", "Give data=NAME.")


def check_query(query: Sequence[float] | None, pictures: bool) -> None:
    """Refuse a point that no picture shows."""
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


def write_features(options: Mapping[str, Any]) -> int:
    """Build the model, find the images, write the maps of this process's share; give how many images were skipped."""
    import lightning

    from coatseg.build import load_plugins
    from coatseg.commands.image_progress import counted
    from coatseg.commands.machine import settle
    from coatseg.data.module import default_workers
    from coatseg.results.feature_files import MANIFEST, check_installed
    from coatseg.results.features import SKIPPED, FeatureWriter, Plan
    from coatseg.results.places import Place
    from coatseg.results.sources import pixel_limit
    from coatseg.training.trainer import AUTO, automatic_precision

    quiet_libraries()
    check_installed(options["format"])
    place = Place(options["output"])
    if first_process():
        place.check_writable()
    load_plugins(options["plugins"])
    model = make_model(options)
    settle(options["trainer"], options["keep_memory"])
    images = find_images(options, model)
    pictures = make_pictures(options, model, place)
    trainer = dict(options["trainer"])
    if trainer["precision"] == AUTO:
        trainer["precision"] = automatic_precision(trainer["accelerator"]).name
    fabric = lightning.Fabric(**trainer)
    made = {**model.made, "precision": trainer["precision"], "resized_to": model.sides, "pictures": options["pictures"]}
    if pictures is not None:
        made["query"] = list(pictures.query)
    plan = Plan(options["format"], options["dtype"], options["batch_size"], options["shard_images"], made)
    writer = FeatureWriter(
        images,
        model.extractor,
        place,
        plan,
        autocast=fabric.autocast,
        pictures=pictures,
        workers=default_workers() or 1 if options["workers"] is None else options["workers"],
    )
    say(model.words)
    if first_process():
        done = writer.begin()
        if done:
            say(f"{done} of {len(writer.shards)} shards are there already")
    fabric.launch()
    fabric.barrier()
    writer.device = fabric.device
    model.network.to(fabric.device)
    share = writer.remaining(fabric.global_rank, fabric.world_size)
    with pixel_limit(int(options["max_pixels"])), counted("features", share, shown=first_process()) as count:
        for batch in writer.write(fabric.global_rank, fabric.world_size):
            count(batch)
    fabric.barrier()
    if not fabric.is_global_zero:
        return 0
    skipped = writer.finish()
    for unread in skipped[:SHOWN]:
        say(f"skipped: {unread.reason}")
    if len(skipped) > SHOWN:
        say(f"skipped: and {len(skipped) - SHOWN} more, in {place.address}/{SKIPPED}")
    told = f", {len(skipped)} skipped" if skipped else ""
    say(f"features: {len(images) - len(skipped)} of {len(images)} images{told}, in {place.address}/{MANIFEST}")
    return len(skipped)


def make_model(options: Mapping[str, Any]) -> FeatureModel:
    """Build what makes the maps."""
    from coatseg.results.feature_model import checkpoint_model, named_model

    if options["checkpoint"] is not None:
        return checkpoint_model(Path(options["checkpoint"]), options["maps"], options["levels"])
    section = {**options["backbone"], "pretrained": options["pretrained"]}
    name = section.pop("name")
    if not options["pretrained"]:
        say(f"{name} has random weights, the same each time; pretrained=true takes ImageNet's")
        section.pop("pretrained")
    return named_model(name, section, strides=options["levels"], mean=options["mean"], std=options["std"])


def find_images(options: Mapping[str, Any], model: FeatureModel) -> FeatureImages:
    """Find the images of the input, or read the list of those of the dataset."""
    from coatseg.build import make, named, split_data_options
    from coatseg.data.module import Limited
    from coatseg.data.resizing import Sides
    from coatseg.results.feature_images import DatasetImages, FolderImages
    from coatseg.results.sources import find_sources

    if options["input"] is not None:
        sources = find_sources(options["input"], output=options["output"])
        say(f"input: {sources.words}")
        return FolderImages(
            sources, model.info, sides=model.sides, bands=model.bands, max_pixels=int(options["max_pixels"])
        )
    given, split = options["data"], options["split"] or "val"
    section = given if "name" in given else {**(model.config or {})["data"], **given}
    name, rest = named(section, "data")
    own, loading = split_data_options(rest)
    dataset = make("dataset", name, own, "data", split=split)
    if loading.get("limit") is not None:
        dataset = Limited(dataset, fitting(loading["limit"], PositiveInt, "data.limit"))
    sides = fitting(loading.get("evaluation_resize"), Sides | None, "data.evaluation_resize")
    say(f"input: {len(dataset)} images of {name} {split}")
    return DatasetImages(dataset, split, model.info, sides=sides)


def make_pictures(options: Mapping[str, Any], model: FeatureModel, place: Place) -> FeaturePictures | None:
    """Make what draws the maps, if pictures were asked for.

    Raises:
        ConfigError: a query for a network without factorized attention.
    """
    from coatseg.results.feature_pictures import FeaturePictures
    from coatseg.results.responses import Responses

    if not options["pictures"]:
        return None
    if model.coat is None:
        if options["query"] is not None:
            raise ConfigError(
                "query= asks the factorized attention of a CoaT, of which no levels are kept here.",
                "Leave query out, or take a CoaT and maps=backbone.",
            )
        return FeaturePictures(place, model.info)
    return FeaturePictures(place, model.info, Responses(model.coat), options["query"] or (0.5, 0.5))


if __name__ == "__main__":
    main()
