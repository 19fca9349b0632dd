"""`coatseg predict checkpoint=... input=DIR output=DIR`: predict label maps, objects or segments of many images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from coatseg.commands.terminal.arguments import check_machine_keys, read_keys
from coatseg.commands.terminal.console import SKIPPED, first_process, quiet_libraries, run_verb, say, say_skipped
from coatseg.errors import ConfigError

if TYPE_CHECKING:  # importing torch takes seconds, too long for --help
    from coatseg.results.predict.predictor import Predictor
    from coatseg.results.predict.run import PredictionRun
    from coatseg.results.predict.writers import Writer
    from coatseg.system.fsspec_folders import Place

USAGE = """Usage: coatseg predict checkpoint=PATH input=DIR|FILE|GLOB output=DIR [KEY=VALUE ...]

Predicts every image of a folder and those below it, of a pattern (input='a/**/*.jpg') or of one file, at its original
size: jpg, png, tif, webp, bmp, jp2, npy, svs, of 8 or 16 bit, grey or with alpha, turned upright. Written are, for
segmentation labels/ID.png, class numbers with the palette (16 bit beyond 255 classes, GeoTIFF for GeoTIFF; for
layers labels/CLASS/ID.png, 255 where the class is), for objects instances.json in COCO's format with masks as RLE,
joined of objects/ID.json, and for panoptic segments COCO's panoptic format: panoptic/ID.png of segment ids, RGB, 0
where there is none, and panoptic.json, joined of segments/ID.json. ID is the path below the input without its suffix.

  model=FILE.onnx         in place of a checkpoint: what coatseg export wrote, run by ONNX Runtime
  checkpoint=[A,B]        the mean of the probabilities of several checkpoints
  numbers=dataset         label maps in the numbers of the dataset's own files: Cityscapes 7 to 33, ADE20K 1 to 150
  for=NAME                what a server, a contest or another tool takes, in place of the above (docs/submitting.md):
    cityscapes ade20k voc    label maps, and for cityscapes objects and segments, named, numbered and zipped as their
                             servers want; pixels without a sure class are 0: unlabeled, and of voc background
    coco                     lists of results, masks and boxes apart, or a zip of segments, for.split=test-dev2017,
                             for.method=NAME; for.json=FILE has the images wanted, and their ids
    kaggle_rle               submission.csv of run lengths; for.columns=[ImageId,ClassId,EncodedPixels],
                             for.classes=[NAME], for.suffix=true
    geojson geopackage       polygons, with coordinates where a GeoTIFF has them; for.pixels=true for QuPath
    labelme coco_json yolo   annotations to correct and to train on; for.polygons=true (not yolo)
    for.leave_out=[NAME]     classes that are not written, for the last two rows
  pictures=true           predictions over the images, too: pictures/ID.png
  inference=NAME          whole, windows, flip or tta; inference.window=[512,512], inference.overlap=0.5 and other keys
                          go on top. Windows need little memory however large the image is.
  score_threshold=0.5     objects of a lower score are left out, segments of a lower score become void, pixels of a
                          lower probability get the ignore index, layers have the pixels above it; pictures show
                          objects from 0.3 on
  batch_size=1            images that go through the model together; workers=N processes read them
  resume=true             go on with an output that was begun: what is done is skipped
  microns=0.5 or level=1  which level of slides (svs, ndpi) and pyramids, if another than in training
  max_pixels=1e9          a file of more pixels is refused as a decompression bomb
  trainer.devices=2       processes, and other keys of Lightning's Trainer, such as trainer.precision=bf16-mixed
  plugins=[NAME]          modules of your own that the checkpoint needs: it imports nothing by itself
  keep_memory=false       return freed memory to the system at once, which is slower on a CPU

A file that cannot be read or is too large is named, listed in skipped.jsonl and skipped; the exit code is then 1."""

PATHS = ("checkpoint", "model", "input", "output")
OWN = (
    *PATHS,
    "batch_size",
    "keep_memory",
    "level",
    "max_pixels",
    "microns",
    "numbers",
    "pictures",
    "plugins",
    "resume",
    "score_threshold",
    "workers",
)
SECTIONS = ("inference", "trainer")
FORM = "for"
"""The section of a form: for=NAME chooses one, for.KEY=VALUE are its options."""
LOADED = ("inference", "score_threshold", "batch_size", "max_pixels", "level", "microns")
"""The keys that are options of the predictor."""


def main() -> None:
    """Read the command line and predict."""
    run_verb(
        USAGE,
        lambda arguments: SKIPPED if predict_files(read_arguments(arguments)) else 0,
        after_stop="What is written is whole; resume=true goes on.",
    )


def read_arguments(arguments: list[str]) -> dict[str, Any]:
    """Read KEY=VALUE arguments; paths and patterns need no quotes beyond the shell's.

    Raises:
        ConfigError: an argument is not of that form, or its key is unknown.
    """
    several = any(argument.startswith("checkpoint=[") for argument in arguments)
    forms = [argument for argument in arguments if argument.startswith(f"{FORM}=")]
    options = read_keys(
        [argument for argument in arguments if argument not in forms],
        "predict",
        OWN,
        "input=images output=labels",
        sections=(*SECTIONS, FORM),
        groups=("inference",),
        verbatim=[key for key in PATHS if not (several and key == "checkpoint")],
    )
    if len(forms) > 1:
        raise ConfigError(f"{forms[0]} and {forms[1]} are both given.", "Predict once for each; one form is written.")
    if forms:
        options[FORM] = {**options.get(FORM, {}), "name": forms[0].partition("=")[2]}
    for key, example in {"input": "input=images", "output": "output=predictions"}.items():
        if not options.get(key):
            raise ConfigError(f"Which {key}?", f"Give {example}.")
    check_machine_keys(options.get("trainer", {}))
    return options


def make_predictor(options: Mapping[str, Any]) -> Predictor:
    """Build the predictor from checkpoint= or model=, exactly one of which must be given."""
    makers: dict[str, Callable[[Mapping[str, Any]], Predictor]] = {
        "checkpoint": _from_checkpoint,
        "model": _from_onnx,
    }
    if "model" not in options and str(options.get("checkpoint")).endswith(".onnx"):
        options = {**options, "model": options["checkpoint"], "checkpoint": None}
    given = [key for key in makers if options.get(key) is not None]
    if len(given) != 1:
        raise ConfigError(
            "checkpoint= and model= are two models." if given else "Which checkpoint?",
            "Give checkpoint=runs/NAME/checkpoints/best.ckpt, or model=FILE.onnx.",
        )
    return makers[given[0]](options)


def _from_checkpoint(options: Mapping[str, Any]) -> Predictor:
    from coatseg.registry.options import fitting
    from coatseg.results.predict.loading import load

    given = {name: options[name] for name in LOADED if name in options}
    given["plugins"] = fitting(options.get("plugins", []), list[str], "plugins")
    return load(options["checkpoint"], device="cpu", **given)  # the trainer moves it


def _from_onnx(options: Mapping[str, Any]) -> Predictor:
    from coatseg.results.predict.loading import load_onnx

    if options.get("plugins"):
        raise ConfigError("plugins= does not go with model=, which holds all that it needs.", "Leave plugins out.")
    if str(options.get("trainer", {}).get("precision", "32-true")) != "32-true":
        raise ConfigError("model= computes in float32, whatever trainer.precision is.", "Leave trainer.precision out.")
    return load_onnx(options["model"], **{name: options[name] for name in LOADED if name in options})


def predict_files(options: Mapping[str, Any]) -> int:
    """Predict all images of the input, write the output, print a summary, and return the number of skipped files."""
    from coatseg.commands.terminal.machine import settle
    from coatseg.commands.terminal.progress import PredictionProgress
    from coatseg.data.images.sources import find_sources
    from coatseg.data.loading.module import loading_workers
    from coatseg.registry.options import NonNegativeInt, fitting
    from coatseg.results.predict.folder import begin
    from coatseg.results.predict.forms.table import check_form
    from coatseg.results.predict.run import PredictionRun, words_on_tags
    from coatseg.system.fsspec_folders import Place
    from coatseg.system.output import check_writable
    from coatseg.training.trainer import ANYWHERE, make_trainer

    quiet_libraries()
    place = Place(options["output"])
    resume = options.get("resume") == "auto" or fitting(options.get("resume", False), bool, "resume")
    pictures = fitting(options.get("pictures", False), bool, "pictures")
    workers = fitting(options.get("workers", loading_workers()), NonNegativeInt, "workers")
    if FORM in options:
        check_form(options[FORM])
    sources = find_sources(options["input"], output=place.address)
    say(f"input: {sources.words}")
    if (lost := words_on_tags(sources.images)) is not None:
        say(lost)
    predictor = make_predictor(options)
    if first_process():
        check_writable(place)
    say(f"inference: {predictor.task.inference.words}")
    writer = make_writer(options, predictor, place)
    images = writer.chosen(sources.images)
    writer.check(images)
    for line in words_on(writer, predictor, left_out=len(sources) - len(images)):
        say(line)
    trainer_options = {**ANYWHERE, "precision": predictor.precision, **options.get("trainer", {})}
    settle(trainer_options, fitting(options.get("keep_memory", True), bool, "keep_memory"))
    trainer = make_trainer(trainer_options, [PredictionProgress()], patient=True)
    run = PredictionRun(predictor, images, writer, pictures=pictures, workers=workers)
    if not first_process():
        trainer.predict(run, return_predictions=False)
        return 0  # where another process left with an error, Lightning would kill the first before it has concluded
    with place.alone():
        facts = {"input": options["input"].rstrip("/"), "precision": str(trainer.precision), "pictures": pictures}
        facts |= _form_facts(options)
        begin(place, {**predictor.settings, **facts}, resume, writer.files, writer.folders)
        trainer.predict(run, return_predictions=False)
        told = run.conclude()
    _tell(run, len(images), place.address)
    if told:
        say(told)
    return len(run.skipped)


def make_writer(options: Mapping[str, Any], predictor: Predictor, place: Place) -> Writer:
    """Return what writes the predictions: in the form that is chosen, or as coatseg has them for each kind.

    Raises:
        ConfigError: the form or the numbers are not for what the model predicts, or are both chosen.
    """
    from coatseg.results.predict.forms.table import form_writer
    from coatseg.results.predict.writers import writer_of

    numbers = str(options.get("numbers", "classes"))
    if FORM not in options:
        return writer_of(predictor.task, place, numbers)
    if "numbers" in options:
        raise ConfigError(
            f"numbers={numbers} and for={options[FORM]['name']} are both given.",
            "Leave numbers out: a form has the numbers that are wanted.",
        )
    return form_writer(options[FORM], predictor.task, place)


def _form_facts(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was typed of the numbers and the form, by the keys that it was typed under."""
    facts = {"numbers": options["numbers"]} if "numbers" in options else {}
    form = options.get(FORM, {})
    return facts | {FORM if key == "name" else f"{FORM}.{key}": value for key, value in sorted(form.items())}


def words_on(writer: Writer, predictor: Predictor, left_out: int = 0) -> Iterator[str]:
    """Yield lines on what will be written, where that is not plain; `left_out` images are not wanted."""
    if left_out:
        yield f"left out: {left_out} image{'s' * (left_out != 1)} of the input that for.json does not name"
    if writer.words:
        yield f"output: {writer.words}"
    if writer.any_score and predictor.finds_objects and predictor.score_threshold is None:
        yield "objects of every score are written; score_threshold=0.5 leaves the unsure ones out"


def _tell(run: PredictionRun, count: int, folder: str) -> None:
    """Print how many images were predicted, now and before, and which files were skipped."""
    say_skipped(run.skipped, folder)
    before = count - run.written - len(run.skipped)
    there = f", {before} had been done" if before else ""
    told = f", {len(run.skipped)} skipped" if run.skipped else ""
    say(f"predicted: {run.written} of {count} images{there}{told}, in {folder}")


if __name__ == "__main__":
    main()
