"""Compare named tensors with those that a model expects."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import Tensor

from coatseg.errors import listed


def mismatches(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], optional: Collection[str] = ()) -> str:
    """List the keys that are missing (but for optional ones), unexpected or of another shape; empty if all fits."""
    problems = {
        "missing": [key for key in expected if key not in state and key not in optional],
        "unexpected": [key for key in state if key not in expected],
        "of another shape": [
            f"{key} {tuple(value.shape)} in the file, {tuple(expected[key].shape)} in the model"
            for key, value in state.items()
            if key in expected and value.shape != expected[key].shape
        ],
    }
    return "; ".join(f"{len(keys)} {what}: {listed(keys)}" for what, keys in problems.items() if keys)
