"""Progress bars: one look, silent where nobody watches, time left on a terminal."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from interp_assets.models.bars import FEWEST, FORMAT, counted, one_look

NAMES = ("TQDM_BAR_FORMAT", "TQDM_MININTERVAL", "TQDM_DISABLE")


class Terminal(io.StringIO):
    """Something that says it is a terminal."""

    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_no_bar_of_anybody_is_drawn_where_nobody_watches() -> None:
    code = "from interp_assets.models.bars import one_look\none_look()\nfrom tqdm import tqdm\nlist(tqdm(range(3)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_what_the_environment_says_counts_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TQDM_BAR_FORMAT", "{n}")
    monkeypatch.setattr(sys, "stderr", Terminal())
    one_look()
    assert os.environ["TQDM_BAR_FORMAT"] == "{n}"
    assert "TQDM_DISABLE" not in os.environ


def test_a_bar_on_a_terminal_says_what_runs_how_much_is_done_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with counted("battery of r in tiny", FEWEST) as ended:
        for number in range(FEWEST):
            ended(f"analysis_{number:02d}")
    assert "battery of r in tiny:" in screen.getvalue()
    assert f"/{FEWEST} steps" in screen.getvalue()
    assert " left" in screen.getvalue()


@pytest.mark.parametrize("total", [0, FEWEST - 1])
def test_few_steps_have_no_bar(monkeypatch: pytest.MonkeyPatch, total: int) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with counted("short", total) as ended:
        ended("one")
    assert screen.getvalue() == ""


def test_the_look_names_only_what_a_bar_knows() -> None:
    from tqdm import tqdm

    line = tqdm.format_meter(n=63, total=500, elapsed=3.0, unit="cell", prefix="attention", bar_format=FORMAT, ncols=90)
    assert "63/500 cells [00:03, 21.00cell/s, 00:20 left]" in line
