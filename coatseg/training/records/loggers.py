"""Loggers of a run: TensorBoard, Weights & Biases, MLflow. Each keeps its files in the run's folder."""

from __future__ import annotations

import logging
import os
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import Logger

from coatseg.errors import ConfigError
from coatseg.registry.names import register
from coatseg.system.atomic import not_written, whole_file
from coatseg.system.extras import needs

Open = Callable[[str | None], Logger]
"""Opens a tracker's run: the one with an id, or a new one without an id."""

PROJECT = "coatseg"


@register("logger", "tensorboard")
def tensorboard(run: Path) -> Logger:
    """Return the logger that writes RUN/tensorboard."""
    return TensorBoardLogger(run, name="", version="tensorboard", default_hp_metric=False)


@register("logger", "wandb")
def wandb(
    run: Path,
    *,
    project: str | None = None,
    entity: str | None = None,
    name: str | None = None,
    group: str | None = None,
    tags: tuple[str, ...] = (),
    notes: str | None = None,
    offline: bool | None = None,
) -> Logger:
    """Return the logger to Weights & Biases, whose files are in RUN/wandb.

    `project` is by default WANDB_PROJECT or coatseg; `name`, that of the run folder. With `offline` true, it never asks
    for a login and sends nothing; with false it sends; with None it does what WANDB_MODE and the user's login say.

    Raises:
        ConfigError: wandb is not installed.
    """
    needs("logger.wandb", "wandb", "wandb")
    modes: dict[str, Any] = {} if offline is None else {"mode": "offline" if offline else "online"}

    def open_run(known: str | None) -> Logger:
        if offline:
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # else its own crash reports would be sent
        logger = WandbLogger(
            project=project or os.environ.get("WANDB_PROJECT", PROJECT),
            name=name or run.resolve().name,
            save_dir=run,
            id=known,
            entity=entity,
            group=group,
            tags=list(tags),
            notes=notes,
            **modes,
        )
        logger._wandb_init.pop("anonymous", None)  # Lightning passes it on, and wandb warns about it
        return logger

    def finish(logger: Logger, status: str) -> None:
        import wandb as library

        if library.run is not None:  # the next job in the same process would go on writing into it
            library.run.finish(exit_code=0 if status == "success" else 1)

    mend = "Log in with `wandb login`, or keep it here with logger.wandb.offline=true."
    return ContinuedLogger("wandb", run / "wandb", open_run, finish, mend)


@register("logger", "mlflow")
def mlflow(
    run: Path,
    *,
    experiment: str = PROJECT,
    name: str | None = None,
    tracking_uri: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> Logger:
    """Return the logger to MLflow.

    `tracking_uri` is by default MLFLOW_TRACKING_URI, else a database in the run's folder, RUN/mlruns/mlflow.db; `name`,
    that of the run folder.

    Raises:
        ConfigError: mlflow, or what its databases need, is not installed.
    """
    folder = (run / "mlruns").resolve()
    address = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder / 'mlflow.db'}"
    needs("logger.mlflow", "mlflow", "mlflow", *(("sqlalchemy", "alembic") if address.startswith("sqlite:") else ()))

    def open_run(known: str | None) -> Logger:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nothing is sent anywhere unasked
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # seven, its default, take minutes to give up
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
        folder.mkdir(parents=True, exist_ok=True)
        logger = MLflowRun(
            experiment_name=experiment,
            run_name=name or folder.parent.name,
            tracking_uri=address,
            tags=dict(tags or {}),
            artifact_location=(folder / "artifacts").as_uri() if str(folder) in address else None,
            run_id=known,
        )
        if known is not None:
            logger.experiment.update_run(known, status="RUNNING")
        return logger

    mend = f"Check logger.mlflow.tracking_uri; without {folder / 'id.txt'} a new run is begun there."
    return ContinuedLogger("mlflow", folder, open_run, MLflowRun.finalize, mend)


class MLflowRun(MLFlowLogger):
    """Lightning's logger, made to continue a run that has some new options."""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """Log the options that the run does not have yet: MLflow refuses to change one."""
        known = self.experiment.get_run(self.run_id).data.params
        given = vars(params) if isinstance(params, Namespace) else params
        super().log_hyperparams({name: value for name, value in given.items() if name not in known})


class ContinuedLogger(Logger):
    """A tracker's run that is continued when the run folder's is resumed; its id is kept in FOLDER/id.txt.

    Nothing is opened before the first use, and only the first process uses it. `close` ends the tracker's run with a
    status, "success" or another; `mend` is the advice if it cannot be opened.
    """

    def __init__(self, label: str, folder: Path, open_run: Open, close: Callable[[Any, str], None], mend: str) -> None:
        super().__init__()
        self.folder = folder
        self._label = label
        self._open = open_run
        self._close = close
        self._mend = mend
        self._opened: Any = None

    @property
    def name(self) -> str:
        """The name under which Lightning knows the logger."""
        return self._label

    @property
    def version(self) -> str | None:
        """The id of the tracker's run; None before the first one has begun."""
        path = self.folder / "id.txt"
        return path.read_text().strip() if path.exists() else None

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The tracker's own object: a wandb.Run or an MlflowClient."""
        return self._logger().experiment

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log values by name; Lightning counts steps from 0."""
        self._logger().log_metrics(metrics, step)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Log the options of the run."""
        self._logger().log_hyperparams(params)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Close the tracker's run."""
        if self._opened is not None:
            self._close(self._opened, status)

    def _logger(self) -> Any:
        """Return the tracker's run; the first call opens it and stores its id.

        Raises:
            ConfigError: the tracker refuses, or cannot be reached.
        """
        if self._opened is None:
            try:
                logger: Any = self._open(self.version)
                _ = logger.experiment
            except OSError as error:
                raise not_written(self.folder, error) from error
            except Exception as error:  # the trackers' errors share no class
                reason = (str(error) or type(error).__name__).splitlines()[0]
                raise ConfigError(f"logger.{self._label}: {reason}", self._mend) from error
            with whole_file(self.folder / "id.txt") as file:
                file.write(str(logger.version).encode())
            self._opened = logger
        return self._opened
