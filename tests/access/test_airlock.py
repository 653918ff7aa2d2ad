"""The airlock: nothing leaves without two reviewers who have not asked for it, and what waits is what is released."""

import hashlib
import hmac
import json
import shutil
import stat
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Chest, copy_lake, start_lake
from parquet_forging import write_two_faced
from test_memory_commands import ID, TERMS

import warehouse
from warehouse.access import log, memory, vocabulary
from warehouse.access.airlock import kinds, patterns, steps
from warehouse.access.airlock.inspection import inspect_file
from warehouse.access.patient_sets import DifferenceError
from warehouse.lake import location, store
from warehouse.settings import Settings
from warehouse.synthetic import make_bucket

PATIENTS = frozenset({"Covid1", "Covid12", "Covid3"})
TABLE = "centre,patients\nLeeds,30\nOxford,55\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("airlock")
    make_bucket(root / "bucket", 3, stubs=True)
    warehouse.refresh(root / "bucket", start_lake(root / "lake"))
    ended = {**TERMS, "ends": "2020-06-30"}
    events = (log.NewEvent(vocabulary.APPROVED, ID, TERMS), log.NewEvent(vocabulary.APPROVED, "2026-0002", ended))
    log.append(location.parse_address(str(root / "lake")), Settings(), *events)
    return root / "lake"


@pytest.fixture
def lake(made: Path, tmp_path: Path) -> Path:
    return copy_lake(made, tmp_path / "lake")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "table.csv").write_text(TABLE)
    return tmp_path / "table.csv"


class Airlock:
    """The commands over a lake, by whom."""

    def __init__(self, here: Chest, lake: Path) -> None:
        self.here, self.lake, self.place = here, lake, location.parse_address(str(lake))
        self.id = ""

    def ask(self, command: str, *words: object, by: str = "Ann") -> tuple[int, str, str]:
        by_whom = () if command in ("list", "show") else ("--by", by)
        done = self.here("airlock", command, *words, *by_whom, "--lake", self.lake)
        return done.returncode, done.stdout, done.stderr

    def request(
        self, *files: Path, agreement: str = ID, by: str = "Ann", reason: str = "Table 1"
    ) -> tuple[int, str, str]:
        done = self.ask("request", *files, "--agreement", agreement, "--reason", reason, by=by)
        self.id = done[1].split(" ")[0]
        return done

    def review(self, by: str, decision: str = "approve", comment: str = "Large counts only") -> tuple[int, str, str]:
        return self.ask("review", self.id, "--decision", decision, "--comment", comment, by=by)

    def release(self, target: Path) -> tuple[int, str, str]:
        return self.ask("release", self.id, "-o", target)

    def events(self) -> list[log.Event]:
        return [event for event in log.read_events(self.place, Settings()) if event.event.startswith("airlock")]


@pytest.fixture
def airlock(here: Chest, lake: Path) -> Airlock:
    return Airlock(here, lake)


@pytest.fixture(scope="module")
def made_approved(made: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A lake where a table of large counts waits, which two reviewers have approved; and the ID of the request."""
    root = tmp_path_factory.mktemp("approved")
    lake = location.parse_address(str(copy_lake(made, root / "lake")))
    (root / "table.csv").write_text(TABLE)
    held = steps.request(lake, Settings(), ID, [root / "table.csv"], "Table 1", "Ann")
    for who in ("Bob", "Cy"):
        steps.review(lake, Settings(), held.id, who, approves=True, comment="Large counts only")
    return root / "lake", held.id


@pytest.fixture
def approved(here: Chest, made_approved: tuple[Path, str], tmp_path: Path) -> Airlock:
    airlock = Airlock(here, copy_lake(made_approved[0], tmp_path / "approved"))
    airlock.id = made_approved[1]
    return airlock


def test_two_reviewers_release_and_all_of_it_is_logged(airlock: Airlock, table: Path, tmp_path: Path) -> None:
    assert airlock.request(table)[0] == 0
    target = tmp_path / "out_Covid1"
    assert airlock.release(target)[0] == 2
    assert airlock.review("Bob")[:2] == (0, f"{airlock.id} is waiting for one more reviewer.\n")
    code, _, error = airlock.release(target)
    assert (code, "waits for one more reviewer" in error, target.exists()) == (2, True, False)
    assert airlock.review("Cy")[:2] == (0, f"{airlock.id} is approved.\n")
    assert airlock.release(target)[0] == 0
    assert (target / "table.csv").read_bytes() == table.read_bytes()
    assert [*(path.name for path in target.iterdir())] == ["table.csv"]
    assert airlock.release(tmp_path / "again")[0] == 2
    found = airlock.events()
    assert [(event.event.rpartition("/")[2], event.about, event.actor) for event in found] == [
        ("requested", ID, "Ann"),
        ("reviewed", ID, "Bob"),
        ("reviewed", ID, "Cy"),
        ("released", ID, "Ann"),
    ]
    assert found[-1].body["reviewers"] == ["Bob", "Cy"]
    assert found[-1].body["to"] == str(tmp_path / "out_(a patient)"), "the log has no pseudonym"
    assert log.verify_chain(log.read_events(airlock.place, Settings())) == []


@pytest.mark.slow
def test_nobody_reviews_what_they_asked_for_or_twice(airlock: Airlock, table: Path) -> None:
    airlock.request(table)
    for who in ("Ann", "ann ", " ANN"):
        assert "has made request" in airlock.review(who)[2]
    assert airlock.review("Bob Lee")[0] == 0
    for who in ("bob  lee", "Lee, Bob"):
        assert "has reviewed request" in airlock.review(who)[2]
    assert len(airlock.events()) == 2
    assert airlock.review("Cy", comment=" ")[0] == 2


@pytest.mark.slow
def test_whose_data_are_counted_cannot_be_altered_while_it_waits(airlock: Airlock, tmp_path: Path) -> None:
    """Otherwise nobody would be remembered, and a later answer that differs by one patient would be allowed."""
    (tmp_path / "named.csv").write_text("patient_id,n\nCovid1,7\nCovid2,9\n")
    airlock.request(tmp_path / "named.csv")
    for who in ("Bob", "Cy"):
        airlock.review(who)
    (held,) = (airlock.lake / "airlock").rglob(".patients")
    kept = held.read_bytes()
    for content in (b"", b"\0" * 8, None):
        held.unlink()
        if content is not None:
            held.write_bytes(content)
        code, _, error = airlock.release(tmp_path / "out")
        assert (code, error.count("\n"), (tmp_path / "out").exists()) == (1, 1, False), content
        assert "is not what was requested" in error
    held.write_bytes(kept)
    assert airlock.release(tmp_path / "out")[0] == 0
    by_patient = airlock.here("audit", "--lake", airlock.lake, "--patient", "Covid1").stdout
    assert f"released under {ID}: airlock request {airlock.id}, files: 1, by Ann" in by_patient
    assert "2 patients" in by_patient
    assert "airlock" not in airlock.here("audit", "--lake", airlock.lake, "--patient", "Covid3").stdout


def test_the_set_beside_the_files_names_nobody_without_the_lakes_secret(airlock: Airlock, tmp_path: Path) -> None:
    """Pseudonyms can be enumerated: no digest of them that needs no secret is among what is kept."""
    (tmp_path / "named.csv").write_text("patient_id,n\nCovid1,7\n")
    airlock.request(tmp_path / "named.csv")
    (held,) = (airlock.lake / "airlock").rglob(".patients")
    content = held.read_bytes()
    assert len(content) == 8
    secret = bytes.fromhex((airlock.lake / "data/lake.key").read_text().strip())
    for key, is_found in ((secret, True), (b"", False), (b"\0" * 32, False)):
        digest = hmac.digest(key, b"released patient Covid1", "sha256")[:8]
        assert (int.from_bytes(digest, "big").to_bytes(8, sys.byteorder) == content) is is_found
    for name in ("md5", "sha1", "sha256", "sha512", "blake2b"):
        for text in (b"Covid1", b"released patient Covid1"):
            assert content not in (hashlib.new(name, text).digest()[:8], hashlib.new(name, text).digest()[7::-1])
    assert not [path for path in (airlock.lake / "airlock").rglob("*") if path.name == "lake.key"]


@pytest.mark.slow
def test_a_rejection_is_final(airlock: Airlock, table: Path, tmp_path: Path) -> None:
    airlock.request(table)
    assert airlock.review("Bob", "reject")[1] == f"{airlock.id} is rejected.\n"
    assert airlock.review("Cy")[0] == 2
    assert airlock.release(tmp_path / "out")[0] == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_what_was_changed_while_it_waited_is_not_released(approved: Airlock, tmp_path: Path) -> None:
    held = approved.lake / "airlock" / approved.id / "table.csv"
    held.write_text(held.read_text().replace("30", "31"))
    code, _, error = approved.release(tmp_path / "out")
    assert (code, "is not what was requested and reviewed" in error, (tmp_path / "out").exists()) == (1, True, False)
    assert [event.event for event in approved.events()][-1] == vocabulary.AIRLOCK_REVIEWED


def test_what_waits_is_what_was_inspected(airlock: Airlock, table: Path) -> None:
    """The requester changes their file after it was inspected: when the patients that they state are read."""
    inspected = table.read_text()

    class Changing(list[str]):
        def __iter__(self) -> Iterator[str]:
            table.write_text("patient_id,covid_status\nCovid1,positive\n")
            return super().__iter__()

    made = steps.request(airlock.place, Settings(), ID, [table], "Table 1", "Ann", Changing(["Covid1"]))
    assert table.read_text() != inspected
    assert (airlock.lake / "airlock" / made.id / "table.csv").read_text() == inspected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["../escaped.csv", "/tmp/escaped.csv", "..", ""])
def test_a_log_that_names_files_elsewhere_releases_none(
    airlock: Airlock, table: Path, tmp_path: Path, name: str
) -> None:
    """The log of a lake may be somebody else's."""
    airlock.request(table)
    requested = airlock.events()[-1]
    (airlock.lake / "airlock" / "escaped.csv").write_bytes(table.read_bytes())
    body = {**requested.body, "files": [{**requested.body["files"][0], "name": name}]}
    log.append(airlock.place, Settings(), log.NewEvent(requested.event, ID, body, "Ann"))
    airlock.review("Bob")
    airlock.review("Cy")
    before = {*tmp_path.iterdir()}
    code, _, error = airlock.release(tmp_path / "out")
    assert (code, "which is no name" in error) == (1, True)
    assert {*tmp_path.iterdir()} == before


def test_the_airlocks_own_names_are_taken(airlock: Airlock, table: Path, tmp_path: Path) -> None:
    """A file named as the set of patients that it keeps beside the files was remembered as what was released."""
    (tmp_path / ".patients").write_bytes(bytes(range(16)))
    for files in ((tmp_path / ".patients",), (table, tmp_path / ".patients")):
        code, _, error = airlock.request(*files)
        assert (code, error) == (2, "chest: .patients begins with a dot. Give the file a name that people see.\n")
    assert not airlock.events()


@pytest.mark.slow
def test_only_reviewers_read_what_waits(airlock: Airlock, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHEST_SHARE", "all")
    table.chmod(0o644)
    airlock.request(table)
    folder = airlock.lake / "airlock"
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, *sorted(folder.rglob("*")))]
    assert modes == [0o700, 0o700, 0o600]
    folder.chmod(0o2770)  # set up for the group of reviewers
    airlock.request(table)
    group = folder / airlock.id
    assert [stat.S_IMODE(path.stat().st_mode) for path in (group, group / "table.csv")] == [0o2750, 0o640]
    assert group.stat().st_gid == folder.stat().st_gid


def test_a_request_needs_an_agreement_in_force(airlock: Airlock, table: Path, tmp_path: Path) -> None:
    assert airlock.request(table, agreement="2026-0002")[0] == 1
    assert airlock.request(table, agreement="2026-0009")[0] == 2
    assert airlock.request(tmp_path / "not-there.csv")[0] == 2
    assert not (airlock.lake / "airlock").exists()
    assert airlock.events() == []


@pytest.mark.slow
def test_an_agreement_that_has_ended_meanwhile_releases_nothing(approved: Airlock, tmp_path: Path) -> None:
    log.append(approved.place, Settings(), log.NewEvent(vocabulary.REVOKED, ID))
    code, _, error = approved.release(tmp_path / "out")
    assert (code, "was revoked" in error, (tmp_path / "out").exists()) == (1, True, False)


@pytest.mark.slow
def test_no_pseudonym_gets_into_the_log(airlock: Airlock, table: Path, tmp_path: Path) -> None:
    (tmp_path / "Covid1.csv").write_text("a\n1\n")
    assert airlock.request(tmp_path / "Covid1.csv")[0] == 2
    assert airlock.request(table, reason="without Covid1")[0] == 2
    table.write_text("patient_id,age\nCovid1,60\n")
    code, shown, _ = airlock.request(table)
    assert (code, "Names a patient of the lake by pseudonym" in shown) == (0, True)
    assert airlock.review("Bob", comment="Covid1 is in it")[0] == 2
    assert not any("Covid1" in event.text for event in airlock.events())


@pytest.mark.slow
def test_what_reviewers_release_is_remembered_and_may_differ_by_few(
    airlock: Airlock, table: Path, tmp_path: Path
) -> None:
    cohort = tmp_path / "some.sql"
    cohort.write_text("-- title: Some\n-- question: Who?\n-- grain: patient\nselect patient_id from patients\n")
    with warehouse.open(str(airlock.lake)) as wh:
        chosen = [name for (name,) in wh.sql("select patient_id from patients").fetchall()]

    def compare() -> str:
        words = ("--agreement", ID, "--reason", "Table 1", "--cohort", cohort, "--format", "json")
        found = json.loads(airlock.ask("request", table, *words)[1])
        airlock.id = found["id"]
        assert found["n_patients"] == len(chosen)
        return next(str(finding["grade"]) for finding in found["findings"] if finding["check"] == "differences")

    assert compare() == "fine"
    memory.admit(airlock.place, Settings(), ID, memory.ANSWER, [*chosen, "Covid999"], 5)
    assert compare() == "problem"
    with pytest.raises(DifferenceError):
        memory.admit(airlock.place, Settings(), ID, memory.ANSWER, chosen, 5)
    airlock.review("Bob")
    airlock.review("Cy")
    assert airlock.release(tmp_path / "out")[0] == 0
    assert memory.admit(airlock.place, Settings(), ID, memory.ANSWER, chosen, 5)
    with store.open_writer(airlock.place, Settings()) as con:
        assert [row["reviewed"] for row in memory.list_releases(con, ID)] == [False, False, True]


@pytest.mark.slow
def test_two_lakes_that_share_a_folder_take_nothing_from_each_other(
    here: Chest, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both count their requests from 1: what waits for one lake was removed by the first request to the other."""
    monkeypatch.setenv("CHEST_AIRLOCK", str(tmp_path / "shared"))
    airlocks = [Airlock(here, copy_lake(made, tmp_path / name)) for name in ("first", "second")]
    for n, airlock in enumerate(airlocks):
        (tmp_path / "table.csv").write_text(f"centre,patients\nLeeds,{30 + n}\n")
        assert airlock.request(tmp_path / "table.csv")[0] == 0
        assert airlock.ask("show", airlock.id)[0] == 0
    assert len({airlock.id for airlock in airlocks}) == 2
    for n, airlock in enumerate(airlocks):
        for reviewer in ("Bob", "Cy"):
            assert airlock.review(reviewer)[0] == 0
        assert airlock.release(tmp_path / f"out{n}")[0] == 0
        assert (tmp_path / f"out{n}/table.csv").read_text().endswith(f"Leeds,{30 + n}\n")
    assert airlocks[0].request(tmp_path / "table.csv")[0] == 0
    assert airlocks[0].id.endswith("-0003")
    assert airlocks[0].request(tmp_path / "nothing.csv")[0] == 2
    assert len([*(tmp_path / "shared").iterdir()]) == 3


def test_a_lake_in_postgresql_names_its_folder(here: Chest, table: Path) -> None:
    address = "postgres://nobody@127.0.0.1:1/none?data_path=/nowhere"
    done = here("airlock", "request", table, "--agreement", ID, "--reason", "Table 1", "--lake", address)
    assert (done.returncode, "CHEST_AIRLOCK=/PATH" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("name", "content", "check", "grade"),
    [
        ("a.csv", "centre,n\nLeeds,30\n", "small counts", "fine"),
        ("a.csv", "centre,n\nLeeds,3\n", "small counts", "look"),
        ("a.csv", "centre;n\nLeeds;4.0\n", "small counts", "look"),
        ("a.json", '{"rows": [{"n": 30}, {"n": 1}]}', "small counts", "look"),
        ("a.csv", "x,n\nCovid12,30\n", "rows of patients", "problem"),
        ("a.txt", "training/Covid12/film.dcm", "rows of patients", "problem"),
        ("a.txt", "2.25.1.2.840.10008.1", "rows of patients", "problem"),
        ("a.csv", "Patient_ID,n\nA,30\n", "rows of patients", "problem"),
        ("a.csv", "k,n\n" + "".join(f"{i},30\n" for i in range(40)), "rows of patients", "look"),
        ("a.txt", "NHS 943 476 5919", "identifying text", "problem"),
        ("a.txt", "born 3/4/1960", "identifying text", "look"),
        ("a.md", "SMITH^Jane", "identifying text", "look"),
        ("a.txt", "a.b@nhs.uk", "identifying text", "look"),
        ("a.txt", "no person at all", "identifying text", "fine"),
        ("a.png", "\x89PNG\r\n\x1a\n", "file type", "look"),
        ("a.bin", "\x00\x01\x02", "file type", "look"),
        ("a.csv", "\x00" * 128 + "DICM", "file type", "problem"),
        ("a.csv", "PK\x03\x04", "file type", "look"),
    ],
)
def test_what_the_checks_find(tmp_path: Path, name: str, content: str, check: str, grade: str) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode("latin-1"))
    found = inspect_file(path, PATIENTS, 5)
    assert grade in [finding.grade for finding in found.findings if finding.check == check]
    assert not any("Covid" in finding.detail for finding in found.findings)


def test_parquet_and_archives_are_read(tmp_path: Path) -> None:
    pq.write_table(pa.table({"who": ["Covid3"], "n": [3]}), tmp_path / "a.parquet", compression="zstd")
    found = inspect_file(tmp_path / "a.parquet", PATIENTS, 5)
    assert (found.kind, found.patients) == ("parquet", {"Covid3"})
    assert {finding.check for finding in found.findings if finding.grade != "fine"} == {
        "rows of patients",
        "small counts",
    }
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/sharedStrings.xml", "<t>Covid12</t>")
    found = inspect_file(tmp_path / "a.xlsx", PATIENTS, 5)
    assert (found.kind, found.patients) == ("xlsx", {"Covid12"})


SHEET = "<row><c><is><t>Covid12</t></is></c><c><is><t>Dr Brown</t></is></c></row>"


def write_workbook(path: Path, sheet: bytes = SHEET.encode(), filler: bytes = b"filler") -> bytearray:
    """A workbook of a sheet, and of another member after it, whose entries can be altered."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", sheet)
        archive.writestr("xl/media/filler.bin", filler)
    return bytearray(path.read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize("what", ["checksum", "encrypted", "method", "compressed", "large", "none"])
def test_a_workbook_that_is_not_read_whole_is_not_called_fine(what: str, tmp_path: Path) -> None:
    """One member that cannot be read hid all others, and nothing looked like a patient."""
    path = tmp_path / "a.xlsx"
    content = write_workbook(path, filler=b"\0" * (201 << 20) if what == "large" else b"filler" * 9)
    entry, member = content.rindex(b"PK\x01\x02"), content.rindex(b"PK\x03\x04")
    if what == "checksum":
        content[entry + 16] ^= 1
    elif what == "encrypted":
        content[entry + 8] |= 1
    elif what == "method":
        content[entry + 10] = 97
    elif what == "compressed":
        content[member + 30 + len("xl/media/filler.bin")] = 0xFF
    path.write_bytes(b"PK\x03\x04" if what == "none" else content)
    found = inspect_file(path, PATIENTS, 5)
    grades = {finding.check: finding.grade for finding in found.findings}
    if what == "none":
        assert grades == {"file type": "look"}
    else:
        assert grades == {"file type": "look", "rows of patients": "problem", "identifying text": "look"}
        assert found.patients == {"Covid12"}


@pytest.mark.parametrize(
    "within", [b"\x89PNG\r\n\x1a\n", b"PK\x03\x04\x14\0", SHEET.encode("utf-16-le"), SHEET.encode("cp037")]
)
def test_what_is_not_read_within_a_workbook_is_not_called_fine(within: bytes, tmp_path: Path) -> None:
    write_workbook(tmp_path / "a.xlsx", filler=within)
    found = inspect_file(tmp_path / "a.xlsx", PATIENTS, 5)
    assert ("file type", "look") in [(finding.check, finding.grade) for finding in found.findings]


def test_what_a_workbook_shows_is_read_however_it_is_written(tmp_path: Path) -> None:
    runs = SHEET.replace("Covid12", "Cov</t></r><r><rPr><b/></rPr><t>id12")
    for sheet in (SHEET.encode("utf-16"), SHEET.replace("C", "&#67;").encode(), runs.encode()):
        write_workbook(tmp_path / "a.xlsx", sheet)
        found = inspect_file(tmp_path / "a.xlsx", PATIENTS, 5)
        assert found.patients == {"Covid12"}
        assert "one place looks like a name." in [finding.detail for finding in found.findings]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.html", b"<p>&#67;ovid12</p>"),
        ("a.json", rb'{"a": "\u0043ovid12"}'),
        ("a.json", rb'{"a": "patient\nCovid12\tMale"}'),
        ("a.csv", b"a\n" + b"b\n" * 4000 + "Covid12\n".encode("utf-16-le")),
        ("a.csv", b"a\n" + b"b\n" * 4000 + b"\xff\n"),
        ("a.html", b"<img src='data:image/png;base64," + b"iVBORw0KGgo" * 30 + b"'>"),
        ("a.json", b'{"image/png": "' + b"iVBORw0KGgo" * 30 + b'"}'),
    ],
)
def test_texts_are_read_as_they_are_seen_or_not_called_fine(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    found = inspect_file(tmp_path / name, PATIENTS, 5)
    assert found.patients == {"Covid12"} or "look" in {f.grade for f in found.findings if f.check == "file type"}


def test_parquet_that_cannot_be_read_whole_is_not_called_fine(tmp_path: Path) -> None:
    odd = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
    pq.write_table(pa.table({"a": odd}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"a": pa.nulls(20_000_001)}), tmp_path / "b.parquet")
    for name in ("a.parquet", "b.parquet"):
        found = inspect_file(tmp_path / name, PATIENTS, 5)
        assert [finding.grade for finding in found.findings if finding.check == "file type"] == ["look"]


def test_a_parquet_file_waits_as_its_rows_alone(airlock: Airlock, tmp_path: Path) -> None:
    """What no row has, but the file: values of a dictionary (a table of pandas has those of all its categories),
    metadata, and what only some libraries read."""
    few = pa.DictionaryArray.from_arrays(pa.array([0, 0]), pa.array(["north", "Covid3"]))
    noted = pa.field("region", pa.string(), metadata={"note": "Covid3"})
    for name, table in {
        "dictionary": pa.table({"region": few}),
        "lists": pa.table({"region": pa.ListArray.from_arrays(pa.array([0, 2], pa.int32()), few)}),
        "metadata": pa.table({"region": ["north"]}, metadata={"note": "Covid3"}),
        "field": pa.table({"region": ["north"]}, schema=pa.schema([noted])),
        "struct": pa.table({"of": pa.array([{"region": "north"}], pa.struct([noted]))}),
    }.items():
        pq.write_table(table, tmp_path / f"{name}.parquet")
    write_two_faced(tmp_path / "pages.parquet", pa.table({"region": ["north", "Covid3"]}), "region")
    assert airlock.request(*sorted(tmp_path.glob("*.parquet")))[0] == 0
    waiting = sorted((airlock.lake / "airlock" / airlock.id).glob("*.parquet"))
    assert len(waiting) == 6
    for path in waiting:
        assert b"Covid3" not in path.read_bytes()  # too short to be compressed
        assert pq.read_metadata(path).metadata is None
        assert "north" in str(pl.read_parquet(path).rows())
        assert "Covid3" not in str(pl.read_parquet(path).rows())


@pytest.mark.parametrize("is_in_lists", [False, True])
def test_a_small_parquet_file_of_a_long_text_many_times_is_not_taken_apart(is_in_lists: bool, tmp_path: Path) -> None:
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), pa.array(["x" * 100_000]))
    column = pa.ListArray.from_arrays(pa.array(range(0, 20_001, 4), pa.int32()), texts) if is_in_lists else texts
    pq.write_table(pa.table({"a": column}), tmp_path / "a.parquet", compression="zstd", store_schema=False)
    assert (tmp_path / "a.parquet").stat().st_size < 2_000
    found = inspect_file(tmp_path / "a.parquet", PATIENTS, 5)
    assert [finding.grade for finding in found.findings] == ["look"]


def test_a_list_of_objects_with_names_of_their_own_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{f"a{number}": 1} for number in range(20_000)]))
    found = inspect_file(tmp_path / "a.json", PATIENTS, 5)
    assert [finding.grade for finding in found.findings if finding.check == "small counts"] == ["look"]


def test_kinds_are_those_of_the_content(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    for content, kind in (
        (b"a,b\n", "csv"),
        (b"PAR1", "parquet"),
        (b"PARE", "encrypted parquet"),
        (b"%PDF-1.7", "pdf"),
    ):
        path.write_bytes(content)
        assert kinds.find_kind(path) == kind
    path.write_bytes("é".encode() * 4096)
    assert kinds.find_kind(path) == "csv"
    (tmp_path / "link.csv").symlink_to(path)
    with pytest.raises(OSError, match="link"):
        kinds.find_kind(tmp_path / "link.csv")


def test_long_words_are_read_once() -> None:
    """A million letters were read from each of them to their end: half a million times as long."""
    assert patterns.find_looks(f"{'x' * 1_000_000} and Smith^John") == {"a name": 1}


def test_words_that_contain_a_pseudonym_are_not_one() -> None:
    assert patterns.find_pseudonyms("Covid123 Covid Covid-19 xCovid1", PATIENTS) == set()
    assert patterns.find_pseudonyms("(Covid1) 'Covid12', Covid3.json", PATIENTS) == PATIENTS


@pytest.mark.slow
def test_who_has_withdrawn_is_recognised_and_not_released(
    airlock: Airlock, here: Chest, table: Path, tmp_path: Path
) -> None:
    """Also who is no longer in the newest state, after a refresh or a purge; and who withdraws while files wait."""
    rows = tmp_path / "rows.csv"
    rows.write_text("who,age\nCovid1,60\n")
    bucket = airlock.lake.parent / "bucket"
    make_bucket(bucket, 3, stubs=True)
    withdraw = ("withdraw", "Covid1", "--reason", "a letter", "--lake", airlock.lake)
    assert airlock.request(rows)[0] == 0
    for by in ("Bob", "Cy"):
        assert airlock.review(by)[0] == 0
    assert here(*withdraw).returncode == 0
    code, _, error = airlock.release(tmp_path / "out")
    assert (code, "names a patient who has withdrawn" in error) == (1, True), error
    assert "Covid1" not in error
    assert not (tmp_path / "out").exists()
    assert airlock.events()[-1].event == vocabulary.AIRLOCK_REVIEWED
    for more in ((), ("--purge", "-o", tmp_path / "certificate.json")):
        shutil.rmtree(airlock.lake / "airlock")  # a purge reports what waits there
        assert here(*withdraw, *more).returncode == 0
        warehouse.refresh(bucket, airlock.lake, add_source=True)
        code, _, error = airlock.request(rows, reason="Covid1 alone")
        assert (code, "names a patient" in error) == (2, True), more
        for step in (("access", "enforce", "on"), ("withdraw", "Covid2")):  # what else the log keeps for good
            done = here(*step, "--reason", "as for Covid1", "--lake", airlock.lake)
            assert (done.returncode, "names a patient" in done.stderr, "Covid1" in done.stderr) == (2, True, False)
        assert airlock.request(rows)[0] == 0
        findings = airlock.events()[-1].body["findings"]
        assert [f["grade"] for f in findings if f["check"] == "rows of patients"] == ["problem"], more
    assert airlock.request(table)[0] == 0
    for by in ("Bob", "Cy"):
        assert airlock.review(by)[0] == 0
    assert airlock.release(tmp_path / "counts")[0] == 0
