"""Every command that a page shows is one that works, or says that it was not run."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from coatseg.commands import VERBS
from tests.data.exports.coco import write_label_studio_coco
from tests.docs.checks import READERS, WrongCommandError, check_command, check_imports
from tests.docs.pages import PAGES, Command, code_blocks, commands_of, name_of

COMMANDS = [command for page in PAGES for command in commands_of(name_of(page), page.read_text())]


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with what pages have the user bring: a head of their own, and an export of a tool."""
    page = next(page for page in PAGES if page.name == "extending.md")
    (code,) = (block for block in code_blocks(page.read_text()) if "@coatseg.register" in block)
    (tmp_path / "my_heads.py").write_text(code)
    write_label_studio_coco(tmp_path / "my_export")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_every_command_is_one_that_works(command: Command) -> None:
    check_command(command)


def test_commands_are_found_wherever_they_stand() -> None:
    text = """\
Do `python train.py
seed=1`, or see `train.py`:

    $ python train.py seed=x   # fails
    error: seed=x does not fit.
    Input should be a number.

    input: 7 images
    python -m benchmarks.loop \\
        --quick

| a | b |
|---|---|
| `make test` | `serve it`: not run |

```
coatseg info
```
"""
    assert commands_of("a.md", text) == [
        Command("a.md", "python train.py seed=1"),
        Command("a.md", "python train.py seed=x   # fails", "seed=x does not fit.\nInput should be a number."),
        Command("a.md", "python -m benchmarks.loop --quick"),
        Command("a.md", "make test", marked=True),
        Command("a.md", "coatseg info"),
    ]


def test_the_pages_show_every_verb() -> None:
    shown = {command.text.split()[1] for command in COMMANDS if command.text.startswith("coatseg ")}
    assert set(READERS) == set(VERBS) - {"train"}
    assert set(READERS) <= shown
    assert sum(command.text.startswith("python train.py") for command in COMMANDS) > 30


@pytest.mark.parametrize(
    "text",
    [
        "python train.py optimizer.lrr=0.1",
        "python train.py backbone=coat_smal",
        "python train.py data=camvid data.rooot=CamVid",
        "python train.py head.dropout=much",
        "python train.py seed=0,1",
        "python train.py -m head=fpn,unett",
        'python train.py -m "experiment=glob(nothing_*)"',
        "python train.py plugins=[my_heads] head.name=linear head.dropoout=0.1",
        "python trian.py",
        "coatseg evalute checkpoint=a.ckpt",
        "coatseg evaluate split=val",
        "coatseg evaluate checkpoint=a.ckpt splitt=val",
        "coatseg evaluate checkpoint=a.ckpt inference.windw=[512,512]",
        "coatseg evaluate checkpoint=a.ckpt task.boundary=true",
        "coatseg evaluate weights=mask_rcnn_coat_small_3x experiment=coco_mask_rcnn",
        "coatseg predict checkpoint=a.ckpt input=photos",
        "coatseg predict checkpoint=a.ckpt input=photos output=labels inference=window",
        "coatseg predict checkpoint=a.ckpt input=photos output=labels pictures=some",
        "coatseg features backbone=coat_small input=photos output=maps levels=[four]",
        "coatseg features backbone=coat_smal input=photos output=maps",
        "coatseg export checkpoint=a.ckpt format=onx",
        "coatseg inspect data=camvidd",
        "coatseg inspect data=camvid data.rooot=CamVid",
        "coatseg info head",
        "coatseg benchmark head=upernett",
        "coatseg benchmark head=upernet size=[512]",
        "python -m benchmarks.nothing",
        "python -m benchmarks.machine",
        "python -m benchmarks.memory --portions growth",
        "python -m benchmarks.memory --parts grow",
        "python -c 'from coatseg.data.downloads import obtain'",
        "python -c 'import coatseg; coatseg.('",
        "make trian",
        "bash .ci/walk",
        'pip install "coatseg[gdal]"',
    ],
)
def test_a_wrong_command_is_found(text: str) -> None:
    for marked in (f"    {text}\n", f"See `{text}`."):
        (command,) = commands_of("made_up.md", marked)
        with pytest.raises(WrongCommandError, match=r"^made_up\.md: "):
            check_command(command)


def test_what_cannot_be_checked_has_to_say_that_it_was_not_run() -> None:
    (silent,) = commands_of("made_up.md", "    python serve.py\n")
    with pytest.raises(WrongCommandError, match='say "not run" beside it'):
        check_command(silent)
    for text in ("    python serve.py    # not run\n", "`python serve.py` serves it: not run."):
        (marked,) = commands_of("made_up.md", text)
        check_command(marked)
    (wrong,) = commands_of("made_up.md", "    python train.py sed=1    # not run\n")
    with pytest.raises(WrongCommandError, match="Did you mean seed"):
        check_command(wrong)


def test_an_answer_is_the_one_that_is_got() -> None:
    for typed, answer in (("optimizer.lrr=1", "optimizer.lrr is wrong."), ("optimizer.lr=1", "optimizer.lr is wrong.")):
        (command,) = commands_of("made_up.md", f"    $ python train.py {typed}\n    error: {answer}\n")
        with pytest.raises(WrongCommandError):
            check_command(command)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_python_code_imports_is_there(page: Path) -> None:
    for block in code_blocks(page.read_text()):
        try:
            ast.parse(block)
        except SyntaxError:
            assert not block.startswith(("import ", "from ")), block
        else:
            check_imports(block)
