"""The commands: chest serve starts, is asked, logs, and ends; what it refuses to start with; chest token."""

import json
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from conftest import Chest
from served import SECONDS, Served, serve_process


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_chest_serve_prints_its_address_and_ends_when_told(
    served_lake: Path, tmp_path: Path, number: int, code: int
) -> None:
    with serve_process(served_lake, tmp_path / "log", "--as-of", "2020-06-01") as served:
        assert served.get("/health").text == "ok"
        assert served.get("/nothing", token="not a token").status_code == 401
        assert served.get("/nothing").status_code == 404
        assert served.get("/api/v1/about?as_of=2021-01-01").json()["as_of"] == "2020-06-01"
        assert served.process is not None
        served.process.send_signal(number)
        assert served.process.wait(SECONDS) == code
        statuses = [line["status"] for line in served.read_log()]  # an answer may arrive before its line is written
    assert statuses == [200, 401, 404, 200]
    words = (tmp_path / "log.stderr").read_text()
    assert "Traceback" not in words
    assert served.token not in words + (tmp_path / "log").read_text()


def test_the_same_app_in_a_thread(served: Served, tokens: dict[str, str]) -> None:
    assert served.get("/health").text == "ok"
    assert served.get("/nothing", tokens["counts"]).status_code == 404
    assert served.get("/group/validation/nothing", tokens["counts"]).status_code == 403
    assert served.get("/group/validation/nothing", tokens["validation"]).status_code == 404


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--host", "0.0.0.0"), "--token-file"),
        (("--host", "::"), "--token-file"),
        (("--host", "chest.example.org"), "--token-file"),
        (("--proxy-header", "X-Remote-User"), "--token-file"),
        (("--allow-origin", "*"), "not *"),
        (("--token-file", "nothing.json"), "cannot be read"),
        (("--token-file", "broken.json"), "not JSON"),
        (("--token-file", "other.json"), "not a token file"),
        (("--as-of", "yesterday"), "yesterday"),
        (("--group", "nowhere"), "nowhere"),
        (("--suppress", "3"), "3"),
        (("--port", "{busy}"), "cannot be used"),
        (("--log", "no/folder/log"), "cannot be written"),
        (("--lake", "no-lake"), "no-lake"),
    ],
)
def test_what_it_does_not_start_with(
    served_lake: Path, tmp_path: Path, here: Chest, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.json").write_text("{")
    Path("other.json").write_text('{"tokens": {}}')
    with socket.create_server(("127.0.0.1", 0)) as busy:
        given = [word.format(busy=busy.getsockname()[1]) for word in words]
        done = here("serve", *(() if "--lake" in words else ("--lake", served_lake)), *given)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr


def test_tokens_are_added_listed_and_removed(tmp_path: Path, here: Chest) -> None:
    file = tmp_path / "tokens.json"
    made = here(
        "token", "add", file, "ward-7", "--rights", "counts", "--group", "validation", "--expires", "2027-01-31"
    )
    token = made.stdout.strip()
    assert (made.returncode, len(token)) == (0, 43)
    by_proxy = here("token", "add", file, "jane", "--by-proxy")
    assert (by_proxy.returncode, by_proxy.stdout) == (0, "")
    text = file.read_text()
    assert token not in text
    assert file.stat().st_mode & 0o007 == 0
    entries: list[dict[str, Any]] = json.loads(text)["tokens"]
    assert [(each["name"], each["rights"], "sha256" in each) for each in entries] == [
        ("ward-7", "counts", True),
        ("jane", "rows", False),
    ]
    listed = here("token", "list", file).stdout
    assert "ward-7" in listed
    assert "proxy" in listed
    for words, said in (
        (("add", file, "ward-7"), "already"),
        (("add", file, "other", "--rights", "all"), "pixels"),
        (("add", file, "other", "--expires", "soon"), "soon"),
        (("remove", file, "nobody"), "no entry"),
        (("list", tmp_path / "nothing.json"), "cannot be read"),
    ):
        refused = here("token", *words)
        assert refused.returncode == 2
        assert said in refused.stderr
    assert file.read_text() == text
    assert here("token", "remove", file, "ward-7").returncode == 0
    assert [each["name"] for each in json.loads(file.read_text())["tokens"]] == ["jane"]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"name": "a", "rights": "rows", "gruops": ["all"]}, "gruops"),
        ({"name": "a", "rights": "everything"}, "everything"),
        ({"name": "a", "rights": "rows", "sha256": "abc"}, "sha256"),
        ({"name": "a", "rights": "rows", "groups": []}, "groups"),
        ({"name": "a", "rights": "rows", "groups": "training"}, "groups"),
        ({"name": "a", "rights": "rows", "expires": "31.1.2027"}, "expires"),
        ({"name": "a", "rights": "rows", "expires": 7}, "expires"),
        ({"name": "a", "rights": "rows", "expires": ""}, "expires"),
        ({"name": "", "rights": "rows"}, "name"),
        ({"rights": "rows"}, "name"),
        ("a", "name"),
    ],
)
def test_a_misspelt_entry_is_an_error_not_a_wider_right(tmp_path: Path, here: Chest, entry: object, said: str) -> None:
    file = tmp_path / "tokens.json"
    file.write_text(json.dumps({"tokens": [entry]}))
    done = here("token", "list", file)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_the_processes_of_a_server_run_nothing_of_the_working_directory(
    served_lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """multiprocessing starts them by `python -c`, which imports from there first."""
    ran = tmp_path / "ran"
    (tmp_path / "strange").mkdir()
    for name in ("multiprocessing", "pebble", "duckdb", "warehouse"):
        (tmp_path / f"strange/{name}.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin/chest"  # as it is installed
    script.write_text("from warehouse.cli import main\n\nif __name__ == '__main__':\n    main()\n")
    monkeypatch.chdir(tmp_path / "strange")
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    with serve_process(served_lake, tmp_path / "log", program=[str(script)]) as served:
        assert served.get("/api/v1/sql", params={"q": "select 1 as one"}).status_code == 200
    assert not ran.exists()
