"""`coatseg features checkpoint=... | backbone=NAME ...`: write the feature maps of many images to files."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coatseg.commands.feature_options import read_arguments
from coatseg.commands.terminal.console import (
    EXIT_CODE,
    SKIPPED,
    first_process,
    quiet_libraries,
    run_verb,
    say,
    say_skipped,
)
from coatseg.errors import CoatsegError, ConfigError

if TYPE_CHECKING:  # importing them takes seconds, too long for --help
    import lightning

    from coatseg.data.images.sources import Skipped
    from coatseg.results.features.images import FeatureImages
    from coatseg.results.features.model import FeatureModel
    from coatseg.results.features.pictures import FeaturePictures
    from coatseg.results.features.writer import FeatureWriter, WritingPlan
    from coatseg.system.fsspec_folders import Place

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
  microns=0.5 or level=1        which level of slides (svs, ndpi) and pyramids, if another than in training
  plugins=[NAME] keep_memory=false

coatseg.read_features(DIR)[id, stride] gives a map back."""


def main() -> None:
    """Read the command line and write the maps."""
    run_verb(
        USAGE,
        lambda arguments: SKIPPED if write_features(read_arguments(arguments)) else 0,
        after_stop="What is written is whole; the same command goes on.",
    )


def write_features(options: Mapping[str, Any]) -> int:
    """Write the feature maps of this process's share of the images.

    Returns the number of images that all processes skipped; 0 in every process but the first.
    """
    from coatseg.commands.terminal.machine import settle
    from coatseg.data.loading.module import loading_workers
    from coatseg.registry.names import load_plugins
    from coatseg.results.features.formats import check_installed
    from coatseg.results.features.making import MapMaker
    from coatseg.results.features.writer import FeatureWriter
    from coatseg.system.fsspec_folders import Place
    from coatseg.system.output import check_writable
    from coatseg.training.trainer import AUTO, automatic_precision, make_fabric

    quiet_libraries()
    check_installed(options["format"])
    place = Place(options["output"])
    load_plugins(options["plugins"])
    trainer = dict(options["trainer"])
    if trainer["precision"] == AUTO:
        trainer["precision"] = automatic_precision(trainer["accelerator"]).name
    fabric = make_fabric(trainer)
    model = make_model(options)
    settle(options["trainer"], options["keep_memory"])
    images = find_images(options, model)
    if first_process():
        check_writable(place)
    pictures = make_pictures(options, model, place)
    maker = MapMaker(
        images,
        model.extractor,
        dtype=options["dtype"],
        batch_size=options["batch_size"],
        autocast=fabric.autocast,
        pictures=pictures,
        workers=max(1, loading_workers() if options["workers"] is None else options["workers"]),
    )
    writer = FeatureWriter(maker, place, make_plan(options, model, pictures, trainer["precision"]))
    say(model.words)
    with place.alone() if first_process() else nullcontext():
        skipped = make_maps(writer, fabric, model)
    if not fabric.is_global_zero:
        return 0
    _tell(skipped, len(images), place.address)
    return len(skipped)


def make_maps(writer: FeatureWriter, fabric: lightning.Fabric, model: FeatureModel) -> list[Skipped]:
    """Make the maps of this process's share; the first process writes the manifest and returns all skipped images."""
    from coatseg.commands.terminal.progress import counted

    if first_process():
        done = writer.begin()
        if done:
            say(f"{done} of {len(writer.shards)} shards are there already")
    fabric.launch()
    fabric.barrier()
    writer.maker.device = fabric.device
    model.network.to(fabric.device)
    share = writer.remaining(fabric.global_rank, fabric.world_size)
    with all_or_none(fabric.world_size), counted("features", share, shown=first_process()) as count:
        for batch in writer.write(fabric.global_rank, fabric.world_size):
            count(batch)
    return writer.finish() if fabric.is_global_zero else []


@contextmanager
def all_or_none(world_size: int) -> Iterator[None]:
    """Wait for the work of all processes; if one of them met an error, the first process raises it, and all end.

    Raises:
        CoatsegError: the error of this process, or of another one.
    """
    met: CoatsegError | None = None
    try:
        yield
    except CoatsegError as error:
        met = error
    if world_size > 1:
        from torch.distributed import all_gather_object

        told: list[tuple[str, str] | None] = [None] * world_size
        all_gather_object(told, None if met is None else (met.what, met.mend))
        met = next((CoatsegError(*each) for each in told if each is not None), None)
    if met is not None:
        if not first_process():
            sys.exit(EXIT_CODE)  # the first one prints it
        raise met


def _tell(skipped: Sequence[Skipped], count: int, address: str) -> None:
    """Print which images were skipped, and where the maps of the others are."""
    from coatseg.results.features.formats import MANIFEST

    say_skipped(skipped, address)
    told = f", {len(skipped)} skipped" if skipped else ""
    say(f"features: {count - len(skipped)} of {count} images{told}, in {address}/{MANIFEST}")


def make_model(options: Mapping[str, Any]) -> FeatureModel:
    """Build the model that makes the maps, from a checkpoint or from the name of a backbone."""
    from coatseg.results.features.model import checkpoint_model, named_model

    if options["checkpoint"] is not None:
        return checkpoint_model(Path(options["checkpoint"]), options["maps"], options["levels"])
    section = dict(options["backbone"])
    name = section.pop("name")
    if options["pretrained"]:
        section["pretrained"] = options["pretrained"]
    model = named_model(name, section, strides=options["levels"], mean=options["mean"], std=options["std"])
    if not options["pretrained"]:
        say(f"{name} has random weights, the same each time; pretrained=true takes ImageNet's")
    return model


def find_images(options: Mapping[str, Any], model: FeatureModel) -> FeatureImages:
    """Return the images of the input, or those of a dataset's split."""
    from coatseg.config.data import DRAWING, open_split
    from coatseg.config.read import read_data
    from coatseg.data.images.slides import scale_of
    from coatseg.data.images.sources import find_sources
    from coatseg.results.features.images import DatasetImages, FolderImages

    if options["input"] is not None:
        sources = find_sources(options["input"], output=options["output"])
        say(f"input: {sources.words}")
        asked = scale_of(options["level"], options["microns"])
        return FolderImages(
            sources,
            model.info,
            sides=model.sides,
            bands=model.bands,
            nodata=model.nodata,
            max_pixels=int(options["max_pixels"]),
            scale=model.scale if options["level"] is options["microns"] is None else asked,
        )
    given, split = options["data"], options["split"] or "val"
    section = given if "name" in given else {**(model.config or {})["data"], **given}
    plan = read_data(section, trains=False)
    dataset = open_split(plan, split)
    say(f"input: {len(dataset)} images of {plan.dataset.name} {split}")
    named = {"name": plan.dataset.name, **plan.stated}
    read_by = {**named, "limit": plan.loading.get("limit"), "train_split": plan.split_of("train")}
    return DatasetImages(
        dataset,
        split,
        model.info,
        sides=plan.loading.get("evaluation_resize"),
        options={f"data.{key}": value for key, value in read_by.items() if key not in DRAWING},
    )


def make_plan(
    options: Mapping[str, Any], model: FeatureModel, pictures: FeaturePictures | None, precision: str
) -> WritingPlan:
    """Return the plan of what is written: format, dtype, sizes of batches and shards, and what the maps depend on."""
    from coatseg.results.features.writer import WritingPlan

    made = {**model.made, "precision": precision, "pictures": pictures is not None}
    if pictures is not None:
        made["query"] = list(pictures.query)
    return WritingPlan(options["format"], options["shard_images"], made)


def make_pictures(options: Mapping[str, Any], model: FeatureModel, place: Place) -> FeaturePictures | None:
    """Return what draws the maps as pictures; None if no pictures were asked for.

    Raises:
        ConfigError: a query point is given for a network without factorized attention.
    """
    from coatseg.results.features.pictures import FeaturePictures
    from coatseg.results.features.responses import Responses

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
