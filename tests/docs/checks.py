"""Checks of a command as it is typed, without its work: every key, choice, option and name in it."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
import sys
import tomllib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from importlib import import_module
from multiprocessing import get_context
from pkgutil import resolve_name
from typing import Any
from unittest.mock import patch

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep

from coatseg.commands import VERBS, benchmark, evaluate, export, feature_options, info, inspect_data, predict
from coatseg.commands.terminal.composition import compose_typed, config_folder
from coatseg.config.read import read
from coatseg.errors import CoatsegError, ConfigError, nearest
from tests.conftest import ROOT
from tests.docs.pages import NOT_RUN, Command

MORE = "..."
"""What a page writes for more arguments of the kind that it has shown before."""


class WrongCommandError(Exception):
    """A page shows a command that would be refused, or an answer that it does not get."""


class UncheckedError(Exception):
    """There is no check for such a command."""

    def __str__(self) -> str:
        return f'No test can check it; say "{NOT_RUN}" beside it.'


class CheckedError(Exception):
    """Raised in place of a command's work, when all before it went well."""


def check_command(command: Command) -> None:
    """Check a command as it is typed in the current folder, where modules of the user's own are looked for.

    Raises:
        WrongCommandError: it is no command, or has a wrong key, choice, option or name, or another answer.
    """
    words = shlex.split(command.text, comments=True)
    try:
        check_words(words)
    except (CoatsegError, UncheckedError, ImportError, AttributeError, SyntaxError, SystemExit) as error:
        if command.error and str(error) == command.error:
            return
        if isinstance(error, UncheckedError) and command.marked:
            return
        raise WrongCommandError(f"{command}\n{error}") from error
    if command.error:
        raise WrongCommandError(f"{command}\nis shown with an error, and has none.")


def check_words(words: Sequence[str]) -> None:
    match list(words):
        case ["python", "train.py", *arguments] | ["coatseg", "train", *arguments]:
            check_training(arguments)
        case ["python", "-m", module, *arguments] if module.startswith("benchmarks."):
            check_benchmark(module, arguments)
        case ["python", "-c", code]:
            check_imports(code)
        case ["coatseg", "--help"]:
            pass
        case ["coatseg", verb, *arguments]:
            check_verb(verb, arguments)
        case ["make", *targets]:
            check_known(targets, re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE), "make")
        case ["bash", script] if (ROOT / script).is_file():
            pass
        case ["pip", "install", requirement] if match := re.fullmatch(r"coatseg\[(\w+)\]", requirement):
            project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
            check_known([match[1]], project["optional-dependencies"], "an extra")
        case _:
            raise UncheckedError


def check_known(names: Sequence[str], known: Sequence[str], what: str) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(f"{what}: there is no {name}.", nearest(name, list(known)))


def check_training(arguments: Sequence[str]) -> None:
    """Compose and check what would be trained; of a sweep every value once."""
    if "--help" in arguments:
        return
    typed = [argument for argument in arguments if argument != MORE]
    if any(argument.startswith("plugins=") for argument in typed):
        check_apart(typed)
        return
    for job in jobs_of(typed):
        read(compose_typed(job))


def check_apart(typed: list[str]) -> None:
    """Compose and check in a process of its own, since what a plugin registers would stay for other tests."""
    with ProcessPoolExecutor(1, get_context("fork")) as pool:
        if refused := pool.submit(refusal, typed).result():
            raise ConfigError(*refused)


def refusal(typed: list[str]) -> tuple[str, str] | None:
    """Return what is wrong with the arguments of a training, and its mend."""
    try:
        read(compose_typed(typed))
    except CoatsegError as error:
        return error.what, error.mend
    return None


def jobs_of(typed: Sequence[str]) -> list[list[str]]:
    """Part the arguments of a sweep into those of its jobs, so many that every value is in one; others are one job."""
    plain = [argument for argument in typed if argument not in ("-m", "--multirun")]
    if len(plain) == len(typed):
        return [plain]
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        values: list[list[str]] = []
        for argument, override in zip(plain, parser.parse_overrides(plain), strict=True):
            if override.is_sweep_override():
                key, sweep = override.get_key_element(), override.value()
                ends = [sweep.start, sweep.end] if isinstance(sweep, IntervalSweep) else None
                values.append([f"{key}={value}" for value in ends or override.sweep_string_iterator()])
            else:
                values.append([argument])
    if not all(values):
        raise ConfigError("The sweep has no job.", "A pattern matches no file of its group.")
    return [[each[job % len(each)] for each in values] for job in range(max(map(len, values)))]


def check_verb(verb: str, arguments: Sequence[str]) -> None:
    """Check a command of `coatseg`; without arguments it is only mentioned."""
    check_known([verb], list(VERBS), "coatseg")
    if not arguments or "--help" in arguments:
        return
    READERS[verb](["checkpoint=best.ckpt" if argument == MORE else argument for argument in arguments])


def up_to(target: str, work: Callable[[], object]) -> None:
    """Do a command's work up to its call of `target`, which is what takes files or time."""
    with patch(target, side_effect=CheckedError):
        try:
            work()
        except CheckedError:
            return
    raise AssertionError(f"{target} was not called")


@cache
def default() -> dict[str, Any]:
    return compose_typed([])


def check_sections(options: dict[str, Any], *sections: str) -> None:
    """Check the keys that are given anew of these sections, on top of those of a default training."""
    anew = {section: options[section] for section in sections if options.get(section)}
    read({**default(), **{key: keys if "name" in keys else {**default()[key], **keys} for key, keys in anew.items()}})


def check_evaluation(arguments: list[str]) -> None:
    options = evaluate.read_arguments(arguments)
    if "config" in options:
        read(options["config"])
        return
    check_sections(options, *evaluate.SECTIONS)
    up_to("coatseg.config.restore.read_trained", lambda: evaluate.evaluate_checkpoint(options))


def check_prediction(arguments: list[str]) -> None:
    options = predict.read_arguments(arguments)
    check_sections(options, *predict.SECTIONS)
    up_to("coatseg.data.images.sources.find_sources", lambda: predict.predict_files(options))


def check_features(arguments: list[str]) -> None:
    check_sections(feature_options.read_arguments(arguments), "backbone", "data")


def check_export(arguments: list[str]) -> None:
    options = export.read_arguments(arguments)
    up_to("coatseg.config.restore.read_trained", lambda: export.export_checkpoint(options))


def check_inspection(arguments: list[str]) -> None:
    up_to("coatseg.commands.inspect_data.check_output", lambda: inspect_data.inspect_typed(arguments))


def check_info(arguments: list[str]) -> None:
    check_known(arguments, list(info.TABLES), "coatseg info")


def check_measurement(arguments: list[str]) -> None:
    up_to("coatseg.commands.terminal.machine.settle", lambda: benchmark.measure_typed(arguments))


READERS: dict[str, Callable[[list[str]], None]] = {
    "evaluate": check_evaluation,
    "predict": check_prediction,
    "features": check_features,
    "export": check_export,
    "inspect": check_inspection,
    "info": check_info,
    "benchmark": check_measurement,
}
"""What checks the arguments of each verb but train."""


def check_benchmark(name: str, arguments: Sequence[str]) -> None:
    """Let a benchmark read its command line, and no more."""
    module = import_module(name)
    if not hasattr(module, "main"):
        raise UncheckedError
    parse = argparse.ArgumentParser.parse_args

    def only_parse(parser: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> None:
        parse(parser, args, namespace)
        raise CheckedError

    with patch.object(sys, "argv", [name, *arguments]), patch.object(argparse.ArgumentParser, "parse_args", only_parse):
        try:
            module.main()
        except CheckedError:
            return
    raise AssertionError(f"{name} has read no command line")


def check_imports(code: str) -> None:
    """Compile Python code, and import what it imports."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                import_module(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                resolve_name(f"{node.module}.{alias.name}")
