"""What a checkpoint goes on from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coatseg.config.resume import check_resumable
from coatseg.errors import CheckpointError
from tests.conftest import TINY
from tests.results.checkpoints import write_checkpoint


def test_a_run_does_not_go_on_with_other_classes(composed: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    config = composed(*TINY)
    classes = write_checkpoint(tmp_path / "a.ckpt", config).info.classes
    for others in (classes[:-1], (*classes[:-1], "lake")):
        with pytest.raises(
            CheckpointError, match=rf"was trained on {len(classes)} classes .*the data has {len(others)}"
        ):
            check_resumable(tmp_path / "a.ckpt", config, others, 8)
