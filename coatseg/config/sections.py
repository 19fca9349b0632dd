"""The two forms of a section: one name with options, or several names that are switched on or off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from coatseg.errors import ConfigError
from coatseg.registry.options import Options


def named(section: Any, key: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the options of a section; raise ConfigError if it has no name."""
    if not isinstance(section, Mapping) or "name" not in section:
        raise ConfigError(
            f"{key}={section} names nothing.", f"Choose one with {key}=NAME; python train.py --help lists them."
        )
    return section["name"], without(section, "name")


def present(section: Options, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the names and options of a section keyed by name; null switches one off, {} or true takes its defaults.

    `key` is the section's key in the configuration, for errors.
    """
    prefix = f"{key}." if key else ""
    if not isinstance(section, Mapping):
        raise ConfigError(f"{section} is no section of names and options.", "Write NAME: {OPTION: VALUE} there.")
    for name, options in section.items():
        if not isinstance(options, Mapping | bool | None):
            raise ConfigError(
                f"{prefix}{name}={options} does not fit.",
                f"Set an option of it as {prefix}{name}.OPTION=VALUE, or null.",
            )
        if options is not None and options is not False:
            yield name, {} if options is True else dict(options)


def without(options: Options, name: str) -> dict[str, Any]:
    """Return the options without one of them."""
    return {key: value for key, value in options.items() if key != name}
