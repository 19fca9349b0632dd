"""Hydra: find conf/, compose a typed command line, and turn Hydra's errors into short ones."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import coatseg
from coatseg.errors import ConfigError, TrainingError, nearest

NESTED_KEY = re.compile(r"^(?!hydra\.)[A-Za-z_]\w*(\.[\w-]+)+=")
SEARCHED_KEY = re.compile(r"^(\+\+)?hydra\.sweeper\.params\.(\+\+)?(?=[A-Za-z_])")
OPTUNA = "hydra/sweeper/optuna"
EXTRA = 'pip install "coatseg[sweep]"'
TYPED_LOSS = re.compile(r"^[+~]*loss(\.[\w.-]+)?(=|$)")
SELECTION = re.compile(r"^Could not override '(?P<key>[^']+)'")


def config_folder() -> Path:
    """Return the folder conf/: inside an installed package, or beside it in a checkout."""
    package = Path(coatseg.__file__).parent
    installed = package / "conf"
    return installed if installed.is_dir() else package.parent / "conf"


def open_nested_keys(arguments: list[str]) -> list[str]:
    """Let `head.dropout=0.1` set an option that no file has a line for, as `++head.dropout=0.1` would.

    Hydra would refuse it; coatseg checks keys against the constructors' signatures instead, so `+` is never needed. The
    range that a search tries may be typed as KEY=INTERVAL or in full, `hydra.sweeper.params.KEY=INTERVAL`.
    """
    plain = [SEARCHED_KEY.sub("", argument) for argument in arguments]
    return [f"++{argument}" if NESTED_KEY.match(argument) else argument for argument in plain]


def compose_typed(arguments: list[str]) -> dict[str, Any]:
    """Return the configuration that `python train.py` would compose from these arguments, as plain containers.

    Raises:
        ConfigError: a key or choice is unknown.
    """
    with typed_hydra_errors(), initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = compose("train", open_nested_keys(arguments))
        plain = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True, throw_on_missing=True))
    return without_unfit_loss(plain, arguments)


def without_unfit_loss(config: dict[str, Any], arguments: Sequence[str]) -> dict[str, Any]:
    """Return the configuration without the default losses if its head brings its own and no loss was typed.

    One that was typed stays, to be refused.
    """
    from coatseg.config.combinations import brings_losses
    from coatseg.registry.names import load_plugins, table

    if any(TYPED_LOSS.match(argument) for argument in arguments):
        return config
    load_plugins(config["plugins"] if isinstance(config.get("plugins"), list) else [])
    head = config.get("head")
    constructor = table("head").get(head.get("name", "")) if isinstance(head, dict) else None
    return config if constructor is None or not brings_losses(constructor) else {**config, "loss": None}


def choices(group: str) -> list[str]:
    """Return the names of a group's files, sorted."""
    return sorted(path.stem for path in (config_folder() / group).glob("*.yaml"))


def job_name(config: DictConfig) -> str | None:
    """Return the run's name, for jobs of a multirun with the job's number; None if no name was given."""
    hydra = HydraConfig.get()
    if config.name is None or hydra.mode != RunMode.MULTIRUN:
        return None if config.name is None else str(config.name)
    return f"{config.name}-{hydra.job.num}"


@contextmanager
def typed_hydra_errors() -> Iterator[None]:
    """Turn Hydra's and OmegaConf's errors into ConfigError with the nearest valid choice."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # let errors through instead of printing them and leaving with 1
    try:
        yield
    except MissingConfigException as error:
        if error.missing_cfg_file == OPTUNA:
            raise ConfigError("hparams_search=optuna needs Optuna's sweeper, which is not installed.", EXTRA) from error
        group, _, choice = str(error.missing_cfg_file or "").rpartition("/")
        raise ConfigError(f"{group}={choice} is unknown.", nearest(choice, error.options or choices(group))) from error
    except ConfigCompositionException as error:
        raise _composition_error(error) from error
    except ValueError as error:
        if "No trials are completed" in str(error):
            raise TrainingError("No job of the sweep has a score.", "What was wrong with each stands above.") from error
        # Hydra's parser of the defaults list raises a plain ValueError, and Optuna for a reversed interval.
        if not any(word in str(error) for word in ("override", "`low`")):
            raise
        raise ConfigError(str(error).splitlines()[0], "python train.py --help lists groups and keys.") from error
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(str(error).splitlines()[0], "python train.py --help lists groups and keys.") from error


def _composition_error(error: ConfigCompositionException) -> ConfigError:
    first = str(error).splitlines()[0]
    match = SELECTION.match(first)
    if match is None:
        return ConfigError(first, "python train.py --help lists groups and keys.")
    key = match["key"]
    folder = config_folder()
    keys = [path.name for path in folder.iterdir() if path.is_dir()]
    keys += re.findall(r"^(\w+):", (folder / "train.yaml").read_text(), re.MULTILINE)
    known = [name for name in keys if name not in ("defaults", "hydra")]
    return ConfigError(f"{key} is no key of the configuration.", nearest(key, known))
