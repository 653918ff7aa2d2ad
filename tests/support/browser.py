"""Debian's browser, driven by Playwright; tests that need it are skipped where there is none."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest


def find_chromium() -> str:
    """The browser's program: that of CHROMIUM, or one on the path; "" if there is none."""
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if name and (found := shutil.which(name))), "")


@contextlib.contextmanager
def open_browser() -> Iterator[Any]:
    """A headless browser."""
    program = find_chromium()
    if not program:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Watched:
    """A tab, and what a page must not do: errors in its console, and requests to other servers."""

    page: Any
    errors: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)


@contextlib.contextmanager
def open_tab(browser: Any, address: str, **options: Any) -> Iterator[Watched]:
    """A tab of its own at an address, with its own cookies."""
    context = browser.new_context(
        **{"viewport": {"width": 1280, "height": 900}, "accept_downloads": True, "locale": "en-US", **options}
    )
    watched = Watched(context.new_page())
    origin = "/".join(address.split("/")[:3])
    watched.page.on("console", lambda seen: watched.errors.append(seen.text) if seen.type == "error" else None)
    watched.page.on("pageerror", lambda error: watched.errors.append(str(error)))
    watched.page.on(
        "request",
        lambda request: (
            watched.elsewhere.append(request.url) if not request.url.startswith((origin, "data:", "blob:")) else None
        ),
    )
    watched.page.goto(address)
    try:
        yield watched
    finally:
        context.close()
