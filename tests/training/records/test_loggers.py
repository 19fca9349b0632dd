import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coatseg.commands.fit import FOLDER_VARIABLE, fit
from coatseg.errors import ConfigError
from coatseg.system import extras
from coatseg.training.records import loggers
from tests.conftest import TINY

Composed = Callable[..., dict[str, Any]]

SHORT = (*TINY, "trainer.log_every_n_steps=1", "name=mine")
LOGGED = {"loss", "loss/cross_entropy", "loss/dice", "lr", "val/mIoU", "val/mAcc", "val/aAcc", "epoch"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has the variables of a machine where nothing is set up, and leaves none behind."""
    for name in (FOLDER_VARIABLE, "WANDB_MODE", "WANDB_PROJECT", "WANDB_API_KEY", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_CONSOLE", "off")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection of this process but those to itself."""
    connect = socket.socket.connect

    def local(self: socket.socket, address: Any) -> None:
        assert self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "::1", "localhost"), address
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local)


def records(content: bytes) -> Iterator[bytes]:
    """Cut a .wandb file into its records: after 7 bytes, the blocks and chunks of LevelDB's log format."""
    whole, place = b"", 7
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        size, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        whole += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # a whole record, or the last chunk of one
            yield whole
            whole = b""


def wandb_runs(run: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Read each offline run of a folder back: the last value of each metric, and the config; oldest first."""
    from wandb.proto.wandb_internal_pb2 import Record

    told = []
    for file in sorted((run / "wandb").glob("offline-run-*/run-*.wandb")):
        metrics, config = {}, {}
        for data in records(file.read_bytes()):
            record = Record()
            record.ParseFromString(data)
            for item in record.history.item:
                metrics[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
            for item in (*record.run.config.update, *record.config.update):
                config[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)
        told.append((metrics, config))
    return told


def test_wandb_logs_metrics_and_options_offline_and_goes_on(
    composed: Composed, tmp_path: Path, no_network: None
) -> None:
    options = (*SHORT, "logger=wandb", "logger.wandb.project=streets", "logger.wandb.offline=true")
    scores = fit(composed(*options, "trainer.max_epochs=1"))
    run = tmp_path / "runs" / "mine"
    ((metrics, config),) = wandb_runs(run)
    assert metrics.keys() >= LOGGED
    assert metrics["trainer/global_step"] == 3
    assert metrics["val/mIoU"] == pytest.approx(scores.summary()["mIoU"], abs=1e-6)
    assert config["backbone.name"] == "coat_lite_tiny"
    assert config["head.width"] == 32
    assert config["name"] == "mine"
    fit(composed(*options, "trainer.max_epochs=2", "resume=auto"))
    (_, (metrics, config)) = wandb_runs(run)
    assert metrics["trainer/global_step"] == 7
    assert config["trainer.max_epochs"] == 2
    kept = (run / "wandb" / "id.txt").read_text()
    assert {path.stem for path in (run / "wandb").glob("offline-run-*/run-*.wandb")} == {f"run-{kept}"}
    assert "WANDB_MODE" not in os.environ


def test_mlflow_logs_metrics_and_options_in_the_run_folder_and_goes_on(
    composed: Composed, tmp_path: Path, no_network: None
) -> None:
    from mlflow.tracking import MlflowClient

    options = (*SHORT, "logger=mlflow", "logger.mlflow.experiment=streets", "logger.mlflow.tags.who=me")
    fit(composed(*options, "trainer.max_epochs=1"))
    fit(composed(*options, "trainer.max_epochs=2", "resume=auto"))
    run = tmp_path / "runs" / "mine"
    client = MlflowClient(f"sqlite:///{run}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("streets")
    assert experiment is not None
    assert experiment.artifact_location.startswith(run.as_uri())
    (told,) = client.search_runs([experiment.experiment_id])
    assert told.info.run_name == "mine"
    assert told.info.status == "FINISHED"
    assert told.data.metrics.keys() == LOGGED
    assert told.data.params["backbone.name"] == "coat_lite_tiny"
    assert told.data.params["trainer.max_epochs"] == "1"
    assert told.data.tags["who"] == "me"
    assert [point.step for point in client.get_metric_history(told.info.run_id, "loss")] == list(range(8))


def test_several_loggers_at_once(composed: Composed, tmp_path: Path) -> None:
    config = composed(*SHORT, "logger=tensorboard", "logger.wandb.offline=true", "logger.mlflow={}")
    fit({**config, "trainer": {**config["trainer"], "max_steps": 1}})
    run = tmp_path / "runs" / "mine"
    assert all(any((run / name).iterdir()) for name in ("tensorboard", "wandb", "mlruns"))
    hyperparameters = (run / "tensorboard" / "hparams.yaml").read_text()
    assert "optimizer.lr: 0.0006" in hyperparameters


@pytest.mark.parametrize(("name", "module"), [("wandb", "wandb"), ("mlflow", "mlflow"), ("mlflow", "alembic")])
def test_a_missing_extra_is_named_with_its_command(
    composed: Composed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    find = extras.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda wanted: None if wanted == module else find(wanted))
    with pytest.raises(ConfigError, match=rf'needs {module}(.|\n)*pip install "coatseg\[{name}\]"'):
        fit(composed(*SHORT, f"logger={name}"))
    assert not (tmp_path / "runs" / "mine").exists()


def test_a_tracker_that_refuses_is_answered_before_training(composed: Composed, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"logger\.mlflow: (.|\n)*tracking_uri"):
        fit(composed(*SHORT, "logger=mlflow", "logger.mlflow.tracking_uri=ftp://nowhere"))
    assert not (tmp_path / "runs" / "mine").exists()


def test_only_the_first_process_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loggers.rank_zero_only, "rank", 1)
    for logger in (loggers.mlflow(tmp_path), loggers.wandb(tmp_path, offline=True)):
        logger.log_hyperparams({"seed": 0})
        logger.log_metrics({"loss": 1.0}, step=0)
        logger.finalize("success")
    assert not any(tmp_path.iterdir())


def test_a_failed_run_is_told_as_failed(composed: Composed, tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    from coatseg.errors import TrainingError

    diverging = ("optimizer.lr=1e30", "trainer.gradient_clip_val=null", "trainer.max_epochs=4")
    with pytest.raises(TrainingError):
        fit(composed(*SHORT, *diverging, "logger=mlflow"))
    run = tmp_path / "runs" / "mine"
    client = MlflowClient(f"sqlite:///{run}/mlruns/mlflow.db")
    assert client.get_run((run / "mlruns" / "id.txt").read_text()).info.status == "FAILED"
