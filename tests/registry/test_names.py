"""A name is registered beside the thing it names, once; looking it up imports the files of its kind and no other."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import coatseg
from coatseg.errors import ConfigError
from coatseg.registry import names
from coatseg.registry.names import KINDS, table
from tests.commands.test_configs import DATA
from tests.conftest import ROOT

ELSEWHERE = {"callback": "callbacks", "augmentation": "data", "dataset": "data"}
"""The groups of conf/ whose files name a kind's things, where they are not called as the kind."""
TYPED = {"callback": {"ema", "early_stopping"}, "augmentation": {"rotate90", "vertical_flip", "jitter"}}
"""What no file chooses: users type it."""


def imported_by(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint(*sorted(sys.modules))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_a_backbone_is_built_without_whatever_else_coatseg_needs() -> None:
    modules = imported_by("import coatseg; coatseg.create_backbone('coat_small'); coatseg.register_transformers")
    assert "coatseg.models.backbones.coat" in modules
    heavy = {"lightning", "segmentation_models_pytorch", "albumentations", "hydra", "timm", "torchvision", "cv2"}
    assert not modules & (heavy | {"transformers"})
    rooms = {module.split(".")[1] for module in modules if module.startswith("coatseg.")}
    assert rooms == {"errors", "models", "registry", "structures", "system"}
    assert not any(module.startswith("coatseg.models.heads") for module in modules)


def test_a_look_up_registers_the_names_of_its_kind_alone() -> None:
    code = """
from coatseg.registry.names import KINDS, _tables, table
for kind in KINDS:
    table(kind)
    print(kind, *[other for other in KINDS if _tables[other]])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seen = [set(line.split()) for line in run.stdout.splitlines()]
    assert seen == [set(list(KINDS)[: number + 1]) for number in range(len(KINDS))]


def test_a_look_up_of_heads_loads_no_library_of_an_extra() -> None:
    modules = imported_by("from coatseg.registry.names import table; table('head')")
    assert "coatseg.models.heads.semantic.fpn" in modules
    assert not modules & {"transformers", "lightning", "albumentations"}


def sections(kind: str) -> Iterator[dict[str, Any]]:
    """The contents of all files of conf/ that name things of a kind."""
    for file in sorted((ROOT / "conf" / ELSEWHERE.get(kind, kind)).glob("*.yaml")):
        yield yaml.safe_load(file.read_text()) or {}


def named_in_files(kind: str) -> set[str]:
    if kind in ("loss", "callback", "logger"):  # keyed by name
        return {name for section in sections(kind) for name in section if name != "defaults"}
    if kind == "augmentation":
        experiments = [yaml.safe_load(file.read_text()) for file in (ROOT / "conf" / "experiment").glob("*.yaml")]
        data = [*sections(kind), *(experiment.get("data", {}) for experiment in experiments)]
        return {name for section in data for name in section.get("augmentations") or {}}
    if kind == "task":
        return {section["task"]["name"] for section in sections(kind)}
    return {section["name"] for section in sections(kind)}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_file_of_conf_names_what_is_registered_and_the_other_way_round(kind: str) -> None:
    assert named_in_files(kind) | TYPED.get(kind, set()) == set(table(kind))


def test_a_name_that_coatseg_has_is_refused_before_its_own_file_is_imported() -> None:
    code = """
        import coatseg
        from coatseg.errors import ConfigError
        try:
            coatseg.register("head", "fpn")(lambda levels, classes: None)
        except ConfigError as error:
            print(error.what)
    """
    lines = "\n".join(line.removeprefix("        ") for line in code.splitlines())
    run = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "A head called fpn is registered already."


def test_a_thing_may_be_registered_again_and_under_a_second_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(names._tables, "loss", dict(table("loss")))

    def mine(info: Any) -> None:
        """Nothing."""

    for name in ("mine", "mine", "mine_too"):
        assert coatseg.register("loss", name)(mine) is mine
    assert table("loss")["mine"] is table("loss")["mine_too"] is mine


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"(?s)head=upernett is unknown\..*Did you mean upernet\?"):
        names.constructor_of("head", "upernett")
    with pytest.raises(ConfigError, match=r"(?s)hed is no kind of thing that has names\..*Did you mean head\?"):
        table("hed")


def test_a_reader_states_what_is_known_of_it_before_any_file_is_read() -> None:
    for name, reader in table("dataset").items():
        assert hasattr(reader, "info") or len(reader.facts_in_words) == 2, name  # type: ignore[attr-defined]
        assert not (hasattr(reader, "archives") and hasattr(reader, "account")), name


def test_nothing_is_built_from_a_path_in_a_configuration() -> None:
    """Names are looked up in tables alone: no file of conf/ names a module or a class to import."""
    for file in Path(ROOT / "conf").rglob("*.yaml"):
        assert "_target_" not in file.read_text(), file


def test_threads_that_look_up_a_first_name_all_find_it() -> None:
    code = """
from concurrent.futures import ThreadPoolExecutor
from coatseg.registry.names import constructor_of
with ThreadPoolExecutor(4) as threads:
    print({found.__name__ for found in threads.map(lambda _: constructor_of("loss", "dice"), range(4))})
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "{'Dice'}"


def test_after_an_import_that_failed_the_names_are_found_all_the_same() -> None:
    code = """
import importlib
from coatseg.registry import names
whole = importlib.import_module
def broken(name):
    if name == "coatseg.losses.dice":
        raise KeyboardInterrupt
    return whole(name)
importlib.import_module = broken
try:
    names.table("loss")
except KeyboardInterrupt:
    importlib.import_module = whole
print(*sorted(names.table("loss")))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["cross_entropy", "dice", "focal", "lovasz", "ohem", "tversky"]


def test_a_constructor_of_coatseg_takes_no_other_name_of_coatseg() -> None:
    code = """
from coatseg.losses.dice import Dice
from coatseg.registry.names import register, table
try:
    register("loss", "focal")(Dice)
except Exception as error:
    print(error.what)
print(table("loss")["focal"].__name__)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["A loss called focal is registered already.", "Focal"]


def test_every_reader_has_a_contract_test_and_a_row_of_generated_files() -> None:
    texts = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    contracts = "\n".join(text for text in texts if "(DatasetContract)" in text)
    for name, reader in table("dataset").items():
        assert f"return {reader.__name__}(" in contracts, name
        assert name in DATA, name
