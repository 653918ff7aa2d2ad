"""The OHIF viewer, as its makers publish it, in a real browser: it lists the studies of a day and shows an image."""

import io
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from served import Served, serve_thread

from warehouse.errors import UsageError
from warehouse.service.viewer import find_build

PACKAGE = "@ohif/app@3.12.10"
MILLISECONDS = 180_000


@pytest.fixture(scope="module")
def ohif(request: pytest.FixtureRequest) -> Path:
    """The folder of OHIF: TEST_OHIF, or the package of npm, which is kept in pytest's cache."""
    if given := os.environ.get("TEST_OHIF"):
        return Path(given)
    assert request.config.cache
    folder = request.config.cache.mkdir("ohif-3.12.10")
    if not (folder / "package").is_dir():
        if not shutil.which("npm"):
            pytest.skip("npm is not installed, by which OHIF is fetched")
        packed = subprocess.run(
            ["npm", "pack", "--silent", PACKAGE], check=False, cwd=folder, capture_output=True, text=True
        )
        if packed.returncode:
            pytest.skip(f"npm cannot fetch {PACKAGE}: {packed.stderr[:200]}")
        with tarfile.open(folder / packed.stdout.strip()) as archive:
            archive.extractall(folder, filter="data")
    return folder / "package"


@pytest.fixture(scope="module")
def page(ohif: Path) -> Iterator[Any]:
    chromium = shutil.which("chromium")
    if not chromium:
        pytest.skip("chromium is not installed")
    from playwright.sync_api import sync_playwright

    # WebGL without a graphics card.
    words = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=words)
        opened = browser.new_page(viewport={"width": 1280, "height": 800})
        opened.set_default_timeout(MILLISECONDS)
        yield opened
        browser.close()


@pytest.fixture(scope="module")
def viewed(served_lake: Path, ohif: Path) -> Iterator[Served]:
    with serve_thread(served_lake, viewer=ohif) as running:
        yield running


@pytest.mark.slow
def test_ohif_shows_an_image(viewed: Served, page: Any, tmp_path: Path) -> None:
    study = viewed.get("/dicomweb/studies?ModalitiesInStudy=DX&InstanceAvailability=ONLINE&limit=1").json()[0]
    uid = study["0020000D"]["Value"][0]
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{viewed.address}/ohif/viewer?token={viewed.token}&StudyInstanceUIDs={uid}")
    page.get_by_text("Skip all").click()
    # OHIF states the window of an image when it is drawn.
    page.get_by_text("W:", exact=False).first.wait_for()
    page.wait_for_function("() => document.querySelector('.cornerstone-canvas')?.width > 100")
    shot = page.locator(".cornerstone-viewport-element").first.screenshot()
    shown = np.asarray(Image.open(io.BytesIO(shot)).convert("L")).astype(float)
    middle = shown[shown.shape[0] // 4 : -shown.shape[0] // 4, shown.shape[1] // 4 : -shown.shape[1] // 4]
    assert middle.std() > 10, "the viewport is of one colour"
    assert any("/frames/1" in url for url in asked)
    assert all(url.startswith((viewed.address, "data:", "blob:")) for url in asked), "nothing comes from elsewhere"
    if kept := os.environ.get("TEST_SCREENSHOTS"):
        page.screenshot(path=Path(kept) / "ohif.png")


def test_ohif_lists_the_studies_of_a_day(viewed: Served, page: Any) -> None:
    day = "2020-12-31"
    studies = viewed.get(f"/asof/{day}/dicomweb/studies").json()
    page.goto(f"{viewed.address}/asof/{day}/ohif/?token={viewed.token}")
    page.locator('[data-cy="num-studies"]').filter(has_text=re.compile(rf"^{len(studies)}$")).wait_for()
    assert len(studies) < len(viewed.get("/dicomweb/studies").json())


@pytest.mark.slow
def test_a_viewer_needs_a_token_and_a_build(viewed: Served, tmp_path: Path) -> None:
    for path in ("/ohif/", "/app-config.js"):
        assert viewed.get(path, token="wrong").status_code == 401
    assert viewed.get("/app-config.js").headers["content-type"].startswith("text/javascript")
    for path in ("/assets/../../../secret", "/assets/%2e%2e/%2e%2e/package.json", "/sw.js"):
        assert viewed.get(path).status_code == 404
    with pytest.raises(UsageError, match="npm pack"):
        find_build(tmp_path)
