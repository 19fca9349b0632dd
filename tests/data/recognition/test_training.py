"""The line that is printed for an export trains: two steps and a validation with it as it stands."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coatseg.commands.fit import FOLDER_VARIABLE, fit
from coatseg.data.recognition import recognise
from tests.data.exports import EXPORTS

SMALL = {
    "seg": ("head.width=32", "head.pyramid_width=16", "data.augmentations.crop.size=[64,64]"),
    "det": ("head.proposals=[60,40]", "head.regions=16"),
}
SMALL |= {"multilabel": SMALL["seg"], "inst": SMALL["det"]}


@pytest.mark.sweep
@pytest.mark.parametrize("name", [name for name, export in EXPORTS.items() if export.truth is not None])
def test_two_steps_with_the_line(
    composed: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    root, (best, *_) = recognise(EXPORTS[name].write(tmp_path / name))
    small = ("backbone=coat_lite_tiny", *SMALL[best.task], "data.batch_size=1", "data.workers=0", "logger=none")
    scores = fit(composed(*best.arguments(root), *small, "trainer.max_epochs=-1", "trainer.max_steps=2"))
    assert scores.summary()
