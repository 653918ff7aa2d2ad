"""What takes long to read: a page that states it and reloads itself, a search to be asked again, a line when done."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from browser import open_browser, open_tab
from conftest import copy_lake
from dicomweb_client import DICOMwebClient
from dicomweb_client.session_utils import create_session
from served import SECONDS, Served, serve_process, serve_thread

import warehouse
from warehouse.service.core import Limits

#: Nobody waits for what is not there at once.
IMPATIENT = Limits(page_patience=0, search_patience=0)


@pytest.fixture
def impatient(served_lake: Path) -> Iterator[Served]:
    with serve_thread(served_lake, limits=IMPATIENT) as running:
        yield running


def ask_until(served: Served, path: str, status: int) -> tuple[list[httpx2.Response], httpx2.Response]:
    """Ask again while the answer has a status: those answers, and the first with another."""
    ends, waiting = time.monotonic() + SECONDS, list[httpx2.Response]()
    while (found := served.get(path)).status_code == status:
        waiting.append(found)
        assert time.monotonic() < ends
    return waiting, found


def wait_for_line(file: Path, text: str) -> None:
    """Wait until a file has a text."""
    ends = time.monotonic() + SECONDS
    while text not in file.read_text():
        assert time.monotonic() < ends, file.read_text()
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/explore", "/explore/patients"])
def test_a_page_states_what_is_being_read(path: str, impatient: Served) -> None:
    waiting, found = ask_until(impatient, path, 202)
    assert waiting
    for page in waiting:
        assert any(f">{what}:</label>" in page.text for what in ("Images", "Patients"))
        assert '<progress id="share" max="100" value="' in page.text
        assert '<noscript><meta http-equiv="refresh"' in page.text
        assert page.headers["cache-control"] == "no-store"
    assert found.status_code == 200
    assert "Reading the lake" not in found.text
    assert impatient.get(path).status_code == 200, "what has been read is kept"


@pytest.mark.slow
@pytest.mark.parametrize("scripts", [True, False])
def test_the_page_shows_itself_again_in_a_browser(scripts: bool, impatient: Served) -> None:
    address = f"{impatient.address}/explore?token={impatient.token}"
    with open_browser() as browser, open_tab(browser, address, java_script_enabled=scripts) as watched:
        watched.page.locator("#patients").wait_for(timeout=SECONDS * 1000)
        assert watched.errors == []
    asked = [line["status"] for line in impatient.read_log() if line["asked"] == "show_facets"]
    assert (asked[0], asked[-1]) == (202, 200)


@pytest.mark.slow
def test_a_search_is_asked_again_by_clients_that_nobody_here_wrote(impatient: Served) -> None:
    """dicomweb-client asks again after 503, by its defaults."""
    session = create_session()
    session.trust_env = False
    session.headers["Authorization"] = f"Bearer {impatient.token}"
    found: Any = DICOMwebClient(f"{impatient.address}/dicomweb", session=session).search_for_studies()
    assert len(found) > 1
    asked = [line["status"] for line in impatient.read_log() if line["asked"] == "search_studies"]
    assert (asked[0], asked[-1]) == (503, 200)


@pytest.mark.slow
def test_a_search_that_comes_too_early_states_when_to_ask_again(impatient: Served) -> None:
    waiting, found = ask_until(impatient, "/dicomweb/series", 503)
    assert int(waiting[0].headers["retry-after"]) > 0
    assert waiting[0].json()["detail"].startswith("Studies are being read: ")
    assert found.status_code == 200


@pytest.mark.slow
def test_what_cannot_be_read_is_not_awaited_for_ever(impatient: Served) -> None:
    _, found = ask_until(impatient, "/cohort/there_is_none/dicomweb/studies", 503)
    assert found.status_code == 404


@pytest.mark.slow
def test_the_lake_is_read_when_the_server_starts(served_lake: Path, tmp_path: Path) -> None:
    """With lines on the terminal; not with --no-warm."""
    log = tmp_path / "log"
    errors = tmp_path / "log.stderr"
    with serve_process(served_lake, log) as served:
        wait_for_line(errors, "The lake has been read in ")
        assert "Reading the lake for the explorer and for searches, in the background." in errors.read_text()
        assert served.get("/explore").status_code == 200
        assert served.get("/dicomweb/studies").status_code == 200
    with serve_process(served_lake, log, "--no-warm") as served:
        _, found = ask_until(served, "/explore", 202)
        assert found.status_code == 200
    assert "lake" not in errors.read_text()


@pytest.mark.slow
def test_a_snapshot_is_read_when_it_is_published(served_bucket: Path, served_lake: Path, tmp_path: Path) -> None:
    """Without anybody asking: the first who does need not wait."""
    lake = copy_lake(served_lake, tmp_path / "lake")
    with serve_process(lake, tmp_path / "log") as served:
        errors = tmp_path / "log.stderr"
        wait_for_line(errors, "The lake has been read in ")
        number = warehouse.refresh(str(served_bucket), str(lake), full=True).published.snapshot
        wait_for_line(errors, f"Snapshot {number} was published, and has been read in ")
        assert served.get("/explore").status_code == 200


@pytest.mark.slow
def test_a_server_that_reads_can_be_ended(served_lake: Path, tmp_path: Path) -> None:
    with serve_process(served_lake, tmp_path / "log") as served:
        assert served.process
        served.process.terminate()
        assert served.process.wait(SECONDS) in (0, 143, -15)
    assert "Traceback" not in (tmp_path / "log.stderr").read_text()
