"""chest explore: it opens the page in the browser that the user has, and only there."""

import os
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest


@pytest.mark.slow
@pytest.mark.parametrize("is_opened", [True, False])
def test_the_page_is_opened_in_the_browser(
    is_opened: bool, served_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The browser is a program that writes down the address that it is given; the address shows the page, once."""
    seen, ran, browser = tmp_path / "seen", tmp_path / "ran", tmp_path / "browser"
    os.mkfifo(seen)
    browser.write_text(f'#!/bin/sh\ntouch {ran}\nprintf %s "$1" > {seen}\n')
    browser.chmod(0o700)
    monkeypatch.setenv("BROWSER", str(browser))
    words = ["explore", "--lake", str(served_lake), "--port", "0", "--as-of", "2020-06-01"]
    command = [sys.executable, "-c", "from warehouse.cli import main; main()", *words]
    command += [] if is_opened else ["--no-open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout
        line = running.stdout.readline()
        address = line.split(" at ")[1].strip()
        assert address.startswith("http://127.0.0.1:")
        if is_opened:
            assert seen.read_text() == address  # waits for the browser
        with httpx2.Client(trust_env=False, follow_redirects=True, timeout=100) as client:
            while (page := client.get(address)).status_code == 202:  # the lake is being read
                assert "Reading the lake" in page.text
            assert page.status_code == 200
            assert " as of 2020-06-01" in page.text
            assert "token=" not in str(page.url)
            other = str(page.url).replace("/explore", "/asof/2021-01-01/explore")
            while (narrower := client.get(other)).status_code == 202:
                pass
            assert narrower.text.count("2020-06-01")
        assert httpx2.get(str(page.url), trust_env=False, timeout=100).status_code == 401
        running.terminate()
        running.communicate(timeout=60)
    assert ran.exists() == is_opened
