"""Libraries that come with extras."""

from __future__ import annotations

from importlib.util import find_spec

from coatseg.errors import ConfigError


def needs(what: str, extra: str, *libraries: str) -> None:
    """Check that libraries are installed.

    Raises:
        ConfigError: they are not; says which extra brings them.
    """
    if missing := [name for name in libraries if find_spec(name) is None]:
        raise ConfigError(
            f"{what} needs {' and '.join(missing)}, which is not installed.", f'pip install "coatseg[{extra}]"'
        )
