"""One look for every progress bar: what runs, how much is done, speed, time left.

What belongs here: the words of a bar, and when there is none. What does not: what is counted. Bars are for people at a
terminal; elsewhere they are silent, and stages and logs say a line now and then.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

FORMAT = (
    "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {unit}s [{elapsed}, {rate_fmt}, {remaining} left{postfix}]"
)
UNLIKE = FORMAT.replace("{rate_fmt}, ", "")  # a speed means nothing where the things counted take unlike times
FEWEST = 10  # below, the line of the stage says enough


def one_look() -> None:
    """Give every bar of this process and its children the one look, and none where nobody watches.

    It sets the defaults that tqdm reads on its first import, so it is called before; what a bar says itself, or the
    environment, counts more.
    """
    os.environ.setdefault("TQDM_BAR_FORMAT", FORMAT)
    os.environ.setdefault("TQDM_MININTERVAL", "0.5")
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")


@contextmanager
def counted(title: str, total: int, unit: str = "step") -> Iterator[Callable[[str], None]]:
    """A bar over ``total`` things of unlike length; call what it yields with the name of each that has ended.

    Time left is that of the things so far, so a guess. Nothing is drawn for few things, or away from a terminal.
    """
    if total < FEWEST:
        yield lambda _: None
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=title, unit=unit, disable=None, leave=False, bar_format=UNLIKE) as bar:

        def ended(name: str) -> None:
            bar.set_postfix_str(name, refresh=False)
            bar.update(1)

        yield ended
