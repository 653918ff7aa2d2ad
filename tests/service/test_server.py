"""The server itself: it starts, is asked, logs, and ends."""

from pathlib import Path

from served import Served, serve_process


def test_chest_serve_prints_its_address_and_ends_when_told(served_lake: Path, tmp_path: Path) -> None:
    with serve_process(served_lake, tmp_path / "log") as served:
        assert served.get("/health").text == "ok"
        assert served.get("/nothing", token="not a token").status_code == 401
        assert served.get("/nothing").status_code == 404
        statuses = [line["status"] for line in served.read_log()]
    assert statuses == [200, 401, 404]
    assert served.process is not None
    assert served.process.returncode == 143  # ended by SIGTERM, as every command says


def test_the_same_app_in_a_thread(served: Served, tokens: dict[str, str]) -> None:
    assert served.get("/health").text == "ok"
    assert served.get("/nothing", tokens["counts"]).status_code == 404
    assert served.get("/group/validation/nothing", tokens["counts"]).status_code == 403
    assert served.get("/group/validation/nothing", tokens["validation"]).status_code == 404
