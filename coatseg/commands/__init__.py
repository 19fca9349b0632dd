"""The commands, one file a verb; `coatseg VERB ...` starts here."""

from __future__ import annotations

import importlib
import sys

from coatseg.commands.terminal.console import friendly_errors
from coatseg.errors import ConfigError, nearest

VERBS = {
    "train": "train a model, evaluate its best checkpoint, write a report",
    "evaluate": "metrics of a checkpoint, per class",
    "predict": "label maps, objects or segments of a folder of images",
    "features": "feature maps of many images, as files",
    "export": "a checkpoint as ONNX, torch.export, TorchScript or OpenVINO, compared with the model",
    "inspect": "what is in a dataset, and what is wrong with it",
    "info": "backbones, heads and datasets, with sizes",
    "benchmark": "speed and memory of a model on this machine",
}
MODULES = {"inspect": "inspect_data"}
"""The modules of verbs that do not have the verb's name; each says why."""


def main() -> None:
    """Run the command that the first argument names."""
    verb = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if verb in ("--help", "-h"):
        print("Usage: coatseg VERB KEY=VALUE ...\n")
        print("\n".join(f"  {name:10} {purpose}" for name, purpose in VERBS.items()))
        print("\n`coatseg VERB --help` says more.")
        return
    with friendly_errors():
        if verb not in VERBS:
            raise ConfigError(f"coatseg has no command {verb}.", nearest(verb, VERBS))
        module = importlib.import_module(f"coatseg.commands.{MODULES.get(verb, verb)}")
    # The processes of a distributed run are started again as `python sys.argv[0] ...`: the module's file runs its verb.
    sys.argv = [str(module.__file__), *sys.argv[2:]]
    module.main()
