"""A headless browser for the tests of a page; pages are opened from files, nothing is ever downloaded."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "unit" / "report"


def _loaded(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def example():
    return _loaded("example_results")


@pytest.fixture(scope="session")
def results(example):
    return example.example_results()


@pytest.fixture(scope="module")
def browser(chromium):
    """The browser that this machine has, for the tests of one file.

    While it is open an event loop runs in this process, beside which no other can be started; so it ends with its file.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def axe():
    """Script of axe-core, which the accessibility tests run inside a page."""
    import axe_playwright_python

    return (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


class Opened:
    """One page with everything it complained about and everything it asked the network for."""

    def __init__(self, browser, address, **options):
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.errors.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda asked: self.requests.append(asked.url))
        self.page.goto(address)

    @property
    def sideways(self) -> int:
        """Pixels by which the page is wider than its window."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


@pytest.fixture(scope="module")
def opened(browser):
    """Open an address with options of a browser context; closed at the end of the file's tests."""
    kept = []

    def opener(address, **options):
        kept.append(Opened(browser, address, **options))
        return kept[-1]

    yield opener
    for each in kept:
        each.context.close()
