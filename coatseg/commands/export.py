"""`coatseg export checkpoint=... format=...`: write a model as a file for other programs, once their outputs agree."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coatseg.commands.terminal.arguments import read_keys
from coatseg.commands.terminal.console import quiet_libraries, run_verb, say
from coatseg.errors import ConfigError

USAGE = """Usage: coatseg export checkpoint=PATH [format=onnx] [output=FILE] [preprocess=false] [sizes=[[200,333],...]]

Writes the model of a checkpoint, in float32, as a file that needs no coatseg: format=onnx, torch_export (.pt2),
torchscript (.pt) or openvino (.xml and .bin; pip install "coatseg[openvino]"). Without output=FILE it goes beside the
checkpoint. Segmentation takes any batch and size, a detector one image of any size; panoptic_deeplab any batch and size
too, and its maps are merged to segments by the reader. The file names its classes, mean and std, and says what it takes
and gives; with preprocess=true it takes pixels from 0 to 255 and normalises them itself. It is then run on generated
street scenes at three sizes=[[HEIGHT,WIDTH],...] and compared with the model: the largest difference and the share of
pixels or objects that agree are printed, and kept in FILE.json. A file that does not agree is an error and is not kept.
Modules of your own that the checkpoint needs are named again, plugins=[NAME].
`coatseg predict model=FILE.onnx` predicts from an ONNX file."""

OWN = ("checkpoint", "format", "output", "preprocess", "sizes", "plugins")


def main() -> None:
    """Read the command line and export."""
    run_verb(USAGE, lambda arguments: export_checkpoint(read_arguments(arguments)))


def read_arguments(arguments: list[str]) -> dict[str, Any]:
    """Read KEY=VALUE arguments; paths need no quotes."""
    example = "checkpoint=runs/NAME/checkpoints/best.ckpt"
    options = read_keys(arguments, "export", OWN, example, verbatim=("checkpoint", "output"))
    if not options.get("checkpoint"):
        raise ConfigError("Which checkpoint?", f"Give {example}.")
    return options


def export_checkpoint(options: Mapping[str, Any]) -> None:
    """Export the model of a checkpoint, and print how well the file's outputs agree with the model's."""
    from coatseg.config.restore import ModelRecord, read_trained
    from coatseg.registry.names import load_plugins
    from coatseg.registry.options import fitting
    from coatseg.results.export.agreement import unit
    from coatseg.results.export.beside_model import SIZES, Sizes
    from coatseg.results.export.formats import format_of
    from coatseg.results.export.report import report_path
    from coatseg.results.export.writing import export

    quiet_libraries()
    name = str(options.get("format", "onnx"))
    form = format_of(name)
    path = Path(str(options["checkpoint"]))
    output = Path(str(options.get("output", path.with_suffix(form.suffix))))
    preprocess = fitting(options.get("preprocess", False), bool, "preprocess")
    sizes = fitting(options.get("sizes", SIZES), Sizes, "sizes")
    load_plugins(fitting(options.get("plugins", []), list[str], "plugins"))
    trained = read_trained(path)
    task = trained.build()
    exported = export(task, ModelRecord.of(trained.config), name, output, preprocess=preprocess, sizes=sizes)
    for line in exported.left_out:
        say(f"{name}: {line}")
    for row in exported.agreements:
        say(
            f"{row.size[0]}x{row.size[1]}: {row.alike:.4%} of {row.compared} {unit(task)} agree; "
            f"largest difference {row.difference:.1e}"
        )
    if not exported.compared:
        say("The model found no object in any of these images: its boxes were compared with none.")
    say(f"{output} computes what {path} does; compared in {report_path(output)}")


if __name__ == "__main__":
    main()
