from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lightning.pytorch.trainer.states import TrainerFn

from coatseg.training.callbacks.checkpoints import Checkpoints


def validated(callback: Checkpoints, step: int, score: float) -> None:
    """Have the callback see a validation; a checkpoint is a file that holds the step."""
    trainer: Any = SimpleNamespace(
        state=SimpleNamespace(fn=TrainerFn.FITTING),
        sanity_checking=False,
        callback_metrics={"val/mIoU": score},
        global_step=step,
        is_global_zero=True,
        strategy=SimpleNamespace(barrier=lambda: None),
        save_checkpoint=lambda path: Path(path).write_text(str(step)),
    )
    callback.on_validation_end(trainer, None)  # type: ignore[arg-type]


def test_the_best_is_the_highest_score_and_never_one_that_is_no_number(tmp_path: Path) -> None:
    callback = Checkpoints(tmp_path, monitor="val/mIoU", record={})
    validated(callback, 1, float("nan"))
    assert not (tmp_path / "best.ckpt").exists()
    for step, score in ((2, 0.3), (3, 0.5), (4, 0.4), (5, float("nan"))):
        validated(callback, step, score)
    assert (tmp_path / "best.ckpt").read_text() == "3"
    assert (tmp_path / "last.ckpt").read_text() == "5"
    assert (tmp_path / "previous.ckpt").read_text() == "4"
