"""The precision that is chosen for what will train."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.accelerators import CUDAAccelerator, MPSAccelerator

from coatseg.errors import ConfigError
from coatseg.training import trainer
from coatseg.training.trainer import (
    PATIENCE,
    automatic_precision,
    cpu_capabilities,
    make_fabric,
    make_trainer,
    native_bf16,
    processor,
)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A CPU that computes in bfloat16, without an accelerator."""
    monkeypatch.setattr(CUDAAccelerator, "is_available", lambda: False)
    monkeypatch.setattr(MPSAccelerator, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(trainer, "cpu_capabilities", lambda: {"avx2", "avx512_f", "avx512_bf16"})
    return monkeypatch


@pytest.mark.parametrize("accelerator", ["auto", "cpu", "gpu"])
def test_a_cpu_computes_in_bfloat16_where_it_has_the_instructions(
    machine: pytest.MonkeyPatch, accelerator: str
) -> None:
    assert automatic_precision(accelerator) == (
        "bf16-mixed", "this CPU (avx512_bf16) computes natively in bfloat16"
    )  # fmt: skip
    machine.setattr(trainer, "cpu_capabilities", lambda: {"avx2", "avx512_f"})
    assert automatic_precision(accelerator).name == "32-true"


@pytest.mark.parametrize(
    ("capabilities", "name"),
    [
        ("avx512_f amx_bf16", "amx_bf16"), ("neon bf16 sve", "bf16"), ("avx512_f avx_ne_convert", None), ("neon", None),
        ("", None),
    ],
    ids=str,
)  # fmt: skip
def test_conversion_alone_is_no_computation(machine: pytest.MonkeyPatch, capabilities: str, name: str) -> None:
    assert native_bf16(set(capabilities.split())) == name
    machine.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert native_bf16(set(capabilities.split())) is None


@pytest.mark.parametrize(("native", "name"), [(True, "bf16-mixed"), (False, "32-true")])
def test_a_gpu_is_asked_without_its_emulation(machine: pytest.MonkeyPatch, native: bool, name: str) -> None:
    machine.setattr(CUDAAccelerator, "is_available", lambda: True)
    machine.setattr(torch.cuda, "is_available", lambda: True)
    machine.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    machine.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: native or including_emulation)
    assert processor("auto") == "cuda"
    chosen = automatic_precision("auto")
    assert chosen.name == name
    assert chosen.reason.startswith("Tesla T4 ")
    assert automatic_precision("cpu").name == "bf16-mixed"


@pytest.mark.parametrize("accelerator", ["auto", "gpu", "mps"])
def test_a_mac_with_its_gpu_stays_at_float32(machine: pytest.MonkeyPatch, accelerator: str) -> None:
    machine.setattr(MPSAccelerator, "is_available", lambda: True)
    assert automatic_precision(accelerator).name == "32-true"


@pytest.mark.parametrize(
    ("listing", "names"),
    [
        ("processor\t: 0\nmodel name\t: A\nflags\t\t: fpu avx2 amx_bf16\nbugs\t: b\n", {"fpu", "avx2", "amx_bf16"}),
        ("processor\t: 0\nFeatures\t: fp asimd bf16\n", {"fp", "asimd", "bf16"}),
    ],
    ids=["x86", "ARM"],
)
def test_an_older_torch_has_the_system_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, listing: str, names: set[str]
) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    (tmp_path / "cpuinfo").write_text(listing)
    assert cpu_capabilities(tmp_path / "cpuinfo") == names
    assert cpu_capabilities(tmp_path / "nothing") == set()


def test_the_trainer_takes_what_was_chosen(machine: pytest.MonkeyPatch) -> None:
    assert make_trainer({"accelerator": "cpu", "precision": "auto"}).precision == "bf16-mixed"


def test_processes_that_share_work_wait_for_each_other() -> None:
    fabric = make_fabric({"accelerator": "cpu", "devices": 2})
    strategy: Any = fabric.strategy
    assert fabric.world_size == 2
    assert strategy._timeout == PATIENCE  # half an hour, which Lightning gives, is less than a share may take
    patient: Any = make_trainer({"accelerator": "cpu", "devices": 2}, patient=True).strategy
    assert patient._timeout == PATIENCE
    assert make_trainer({"accelerator": "cpu", "devices": 1}, patient=True).world_size == 1
    with pytest.raises(ConfigError, match=r"trainer: .*\nSee the arguments of lightning\.Fabric"):
        make_fabric({"accelerator": "cpu", "devices": 0})
