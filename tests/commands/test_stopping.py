"""Ctrl-C: a line that says how to go on, and the exit code of shells."""

import sys

import pytest

from coatseg.commands.terminal import console

CALLED = "Start it again."


def pressed(arguments: list[str]) -> int:
    raise KeyboardInterrupt


def pressed_under_lightning(arguments: list[str]) -> int:
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        sys.exit(1)


@pytest.mark.parametrize("work", [pressed, pressed_under_lightning])
def test_a_line_says_how_to_go_on(work, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["coatseg", "key=value"])
    with pytest.raises(SystemExit) as left:
        console.run_verb("Usage", work, after_stop=CALLED)
    assert left.value.code == console.STOPPED
    assert capsys.readouterr().err == f"stopped. {CALLED}\n"


def test_other_exits_stay_what_they_are(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["coatseg", "key=value"])
    with pytest.raises(SystemExit) as left:
        console.run_verb("Usage", lambda arguments: 1)
    assert (left.value.code, capsys.readouterr().err) == (1, "")


def test_an_error_within_another_is_told_once(capsys):
    with pytest.raises(SystemExit) as left, console.friendly_errors(CALLED), console.friendly_errors(CALLED):
        raise KeyboardInterrupt
    assert left.value.code == console.STOPPED
    assert capsys.readouterr().err.count(CALLED) == 1
