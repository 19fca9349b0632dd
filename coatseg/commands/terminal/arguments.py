"""Read the KEY=VALUE arguments of commands that compose no whole configuration, and single files of conf/."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from coatseg.commands.terminal.composition import choices, config_folder
from coatseg.errors import ConfigError, nearest

MACHINE = ("accelerator", "devices", "strategy", "num_nodes", "precision")
"""The trainer's keys that say where and in what precision work runs, and not what is trained."""


def read_keys(
    arguments: Sequence[str],
    verb: str,
    own: Collection[str],
    example: str,
    *,
    sections: Collection[str] = (),
    groups: Collection[str] = (),
    verbatim: Collection[str] = (),
) -> dict[str, Any]:
    """Read the KEY=VALUE arguments of `coatseg VERB` into nested options.

    `own` are the command's plain keys. Values of `verbatim` keys, such as paths and patterns, are taken as they are,
    and an empty one counts as not given; all others are parsed as YAML. `sections` have keys below them, such as
    data.root. `groups` are the sections for which data=NAME chooses a file, whose entries the nested keys override.
    `example` is an argument to show in errors.

    Raises:
        ConfigError: an argument is of another form, a key or choice is unknown, or YAML cannot parse a value.
    """
    for argument in arguments:
        key, equals, _ = argument.partition("=")
        section, dot, _ = key.partition(".")
        if not equals:
            raise ConfigError(f"{argument} is not of the form KEY=VALUE.", f"For example {example}.")
        if section not in (sections if dot else (*own, *sections)):
            raise ConfigError(f"{key} is no key of coatseg {verb}.", nearest(section, (*own, *sections)))
    chosen = _values(arguments, groups)
    taken = _values(arguments, verbatim)
    rest = [argument for argument in arguments if argument.partition("=")[0] not in (*groups, *verbatim)]
    try:
        options = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.from_dotlist(rest)))
    except (YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(
            f"The arguments cannot be read: {str(error).splitlines()[0]}.", "Close every bracket and quote."
        ) from error
    for group, name in chosen.items():
        options[group] = {**group_file(group, name), **options.get(group, {})}
    for section in sections:
        if not isinstance(options.get(section, {}), dict):
            raise ConfigError(f"{section}={options[section]} does not fit.", f"Set {section}.KEY=VALUE.")
    return {**options, **{key: value for key, value in taken.items() if value}}


def check_machine_keys(trainer: Mapping[str, Any]) -> None:
    """Raise ConfigError for keys of the trainer that mean nothing without training: all but `MACHINE`."""
    for key in trainer:
        if key not in MACHINE:
            raise ConfigError(f"trainer.{key} means nothing here.", nearest(key, MACHINE))


def _values(arguments: Sequence[str], keys: Collection[str]) -> dict[str, str]:
    return dict(argument.split("=", 1) for argument in arguments if argument.partition("=")[0] in keys)


def group_file(group: str, name: str) -> dict[str, Any]:
    """Read a file of a group of conf/, such as head; one of inference is merged onto inference/whole.yaml.

    Raises:
        ConfigError: there is no such file.
    """
    if name not in choices(group):
        raise ConfigError(f"{group}={name} is unknown.", nearest(name, choices(group)))
    files = ("whole", name) if group == "inference" else (name,)
    paths = [config_folder() / group / f"{file}.yaml" for file in files]
    return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.merge(*map(OmegaConf.load, paths)), resolve=True))
