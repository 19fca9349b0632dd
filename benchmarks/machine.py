"""The machine of a measurement: processor, threads, versions, and the environment variables that matter."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import torch

import coatseg
from coatseg.system.measuring import cpu_model

LIBRARIES = {
    "torch": "torch",
    "timm": "timm",
    "smp": "segmentation-models-pytorch",
    "albumentations": "albumentations",
}
MATTERS = ("OMP_", "MKL_", "KMP_", "MALLOC_", "LD_PRELOAD", "DNNL_", "ONEDNN_", "GLIBC_TUNABLES")
"""Prefixes of the environment variables that change threads, allocator or kernels."""


def machine_facts() -> dict[str, Any]:
    """Return the facts of the machine, as JSON can hold them."""
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "cpu": cpu_model(),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {
            **{name: version(package) for name, package in LIBRARIES.items()},
            "coatseg": coatseg.__version__,
        },
        "environment": {key: value for key, value in sorted(os.environ.items()) if key.startswith(MATTERS)},
    }


def told(facts: Mapping[str, Any]) -> str:
    """Return the facts in one line."""
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    environment = "".join(f", {key}={value}" for key, value in facts["environment"].items())
    return f"{facts['cpu']}, {facts['cores']} cores, {facts['threads']} threads; {versions}{environment}"
