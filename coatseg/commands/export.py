"""`coatseg export checkpoint=... format=...`: the model as a file for other programs, compared before it is kept."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from coatseg.commands.console import friendly_errors, quiet_libraries, say
from coatseg.errors import ConfigError, nearest

USAGE = """Usage: coatseg export checkpoint=PATH [format=onnx] [output=FILE] [preprocess=false] [sizes=[[200,333],...]]

Writes the model of a checkpoint, in float32, as a file that needs no coatseg: format=onnx, torch_export (.pt2),
torchscript (.pt) or openvino (.xml and .bin; pip install "coatseg[openvino]"). Without output=FILE it goes beside the
checkpoint. Segmentation takes any batch and size, a detector one image of any size. The file names its classes, mean
and std, and says what it takes and gives; with preprocess=true it takes pixels from 0 to 255 and normalises them
itself. It is then run on generated street scenes at three sizes=[[HEIGHT,WIDTH],...] and compared with the model: the
largest difference and the share of pixels or objects that agree are printed, and kept in FILE.json. A file that does
not agree is an error and is not kept. Modules of your own that the checkpoint needs are named again, plugins=[NAME].
`coatseg predict model=FILE.onnx` predicts from an ONNX file."""

OWN = ("checkpoint", "format", "output", "preprocess", "sizes", "plugins")


def main() -> None:
    """Read the command line and export."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("--help", "-h"):
        print(USAGE)
        return
    with friendly_errors():
        export_checkpoint(read_arguments(arguments))


def read_arguments(arguments: list[str]) -> dict[str, Any]:
    """Read KEY=VALUE arguments; a path needs no quotes here."""
    for argument in arguments:
        key, equals, _ = argument.partition("=")
        if not equals:
            raise ConfigError(
                f"{argument} is not of the form KEY=VALUE.", "For example checkpoint=runs/NAME/checkpoints/best.ckpt."
            )
        if key not in OWN:
            raise ConfigError(f"{key} is no key of coatseg export.", nearest(key, OWN))
    try:
        options = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.from_dotlist(arguments)))
    except (YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(
            f"The arguments cannot be read: {str(error).splitlines()[0]}.", "Close every bracket and quote."
        ) from error
    if options.get("checkpoint") is None:
        raise ConfigError("Which checkpoint?", "Give checkpoint=runs/NAME/checkpoints/best.ckpt.")
    return options


def export_checkpoint(options: Mapping[str, Any]) -> None:
    """Build what the checkpoint holds, write it, and say how it compares."""
    from coatseg.build import load_plugins
    from coatseg.restore import restore_task
    from coatseg.results.export import SIZES, Sizes, check_output, export, report_path, unit
    from coatseg.results.formats import format_of
    from coatseg.schema import fitting
    from coatseg.structures import DatasetInfo
    from coatseg.training.checkpoints import RECORD, read_checkpoint

    quiet_libraries()
    name = str(options.get("format", "onnx"))
    form = format_of(name)
    path = Path(str(options["checkpoint"]))
    output = Path(str(options.get("output", path.with_suffix(form.suffix))))
    check_output(name, output)
    preprocess = fitting(options.get("preprocess", False), bool, "preprocess")
    sizes = fitting(options.get("sizes", SIZES), Sizes, "sizes")
    load_plugins(fitting(options.get("plugins", []), list[str], "plugins"))
    checkpoint = read_checkpoint(path)
    config = checkpoint[RECORD]["config"]
    task = restore_task(path, checkpoint, config, DatasetInfo.from_plain(checkpoint[RECORD]["info"]))
    exported = export(task, config, name, output, preprocess=preprocess, sizes=sizes)
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
