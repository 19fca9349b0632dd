"""The check for optional libraries, which the package's extras install."""

from __future__ import annotations

from importlib.util import find_spec

from coatseg.errors import MissingExtraError


def needs(what: str, extra: str, *libraries: str) -> None:
    """Check that the libraries that `what` needs are installed.

    Raises:
        MissingExtraError: some are not; the message says which extra installs them.
    """
    if missing := [name for name in libraries if find_spec(name) is None]:
        raise MissingExtraError(
            f"{what} needs {' and '.join(missing)}, which is not installed.", f'pip install "coatseg[{extra}]"'
        )
