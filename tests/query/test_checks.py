"""Checks: each rule fires on exactly its faults, shows nothing that identifies, and obeys as-of date and group."""

import json
import re
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from conftest import Chest, start_lake, write_objects

import warehouse
from warehouse.catalog import check_rules
from warehouse.engine import sql_files
from warehouse.errors import LakeError, UsageError
from warehouse.lake import location, store
from warehouse.query import checks
from warehouse.settings import Settings

DAY = "2020-03-01"
LATER = "2020-06-01"

#: What must never be shown, whatever a check finds.
SECRETS = (
    "Doe",
    "Jane",
    "St Elsewhere",
    "19560312",
    "9434765919",
    "943 476 5919",
    "SW1A",
    "7946",
    "12/03/1956",
    "H0SP1TAL99",
)


def tag(*values: object, vr: str = "LO") -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)}


def header(patient: str, image: str, **tags: Any) -> str:
    plain = {
        "00080018": tag(image, vr="UI"),
        "00080020": tag("20200229", vr="DA"),
        "00080060": tag("CT", vr="CS"),
        "00080080": tag(None),
        "00080090": {"vr": "PN"},
        "00100010": tag({"Alphabetic": patient}, vr="PN"),
        "00100020": tag(patient),
        "00100030": tag("19560101", vr="DA"),
        "0020000D": tag(f"{image}.1", vr="UI"),
        "0020000E": tag(f"{image}.2", vr="UI"),
        "00283010": None,
    }
    return json.dumps(plain | {name.lstrip("_"): value for name, value in tags.items()})


def image(patient: str, name: str, day: str = DAY, group: str = "training", **tags: Any) -> dict[str, bytes | str]:
    """An image of a patient: header and .dcm."""
    return {
        metadata(patient, name, day, group): header(patient, f"1.{patient[5:]}.{name}", **tags),
        f"{group}/{patient}/images/{day}/{name}.dcm": b"DICM",
    }


def metadata(patient: str, name: str, day: str = DAY, group: str = "training") -> str:
    return f"{group}/{patient}/images_metadata/{day}/{name}.json"


def record(patient: str, day: str = DAY, group: str = "training", **fields: Any) -> dict[str, bytes | str]:
    return {
        record_key(patient, day, group): json.dumps({"Pseudonym": patient, "SubmittingCentre": "Leeds", **fields}),
    }


def record_key(patient: str, day: str = DAY, group: str = "training") -> str:
    return f"{group}/{patient}/data/{day}/data.json"


#: Nothing wrong with any of it. Placeholders, empty elements, pseudonyms at depth and odd-looking codes are no faults.
SOUND: dict[str, bytes | str] = {
    **image("Covid1", "1", _00204000=tag("^^^^", vr="LT"), _00181020=tag("LightSpeedApps14.13_2.8.2L_H2.1M4")),
    **image("Covid1", "2", _00081030=tag("MR Cardiac, DR Chest, L1 2nd view, CT, HEAD/BRAIN WO CONT")),
    **image("Covid1", "3", _00080080=tag("REMOVED"), _00100010=tag({"Alphabetic": "^^^^"}, vr="PN")),
    **image("Covid1", "4", _00080080=None, _00080050=tag("9434765918"), _00081010=tag("0000000000")),
    **image("Covid1", "5", _00101002={"vr": "SQ", "Value": [{"00100020": tag("Covid1"), "00283010": None}, None]}),
    **image("Covid1", "6", _00180060=tag(120.0, vr="DS"), _00200011=tag("7", vr="IS"), _00181151=tag("")),
    **record("Covid1", **{"Date of admission": "02/20/2020", "Date of death": "02/25/2020", "Age": "70", "Death": "1"}),
    **image("Covid2", "1", day=LATER),
    **record("Covid2", day=LATER, SwabDate="28/02/2020", SwabStatus="0"),
}

#: Each rule's faulty objects, and what the rule must list of them: patient and key, or other cells that name the fault.
FAULTY: dict[str, dict[str, bytes | str]] = {
    "image_of_another_patient": {
        **image("Covid10", "1", _00100020=tag("Covid1"), _00100010=tag({"Alphabetic": "Covid1"}, vr="PN")),
        **record("Covid10"),
    },
    "record_of_another_patient": {record_key("Covid11"): json.dumps({"Pseudonym": "Covid1", "Age": 50})},
    "duplicate_sop_instance_uid": {
        **image("Covid12", "1", _00080018=tag("1.9.9", vr="UI")),
        **image("Covid12", "2", day=LATER, _00080018=tag("1.9.9", vr="UI")),
        **record("Covid12"),
    },
    "dcm_without_metadata": {f"training/Covid13/images/{DAY}/1.dcm": b"DICM"},
    "metadata_without_dcm": {metadata("Covid14", "1"): header("Covid14", "1.14.1"), **record("Covid14")},
    "images_without_clinical": image("Covid15", "1"),
    "study_after_available": {**image("Covid16", "1", _00080020=tag("20200302", vr="DA")), **record("Covid16")},
    "unread_values": {
        **image("Covid17", "1", _00180060=tag("high", vr="DS"), _00080021=tag("20200231", vr="DA")),
        **image("Covid17", "2", _00180060=tag("low", vr="DS"), _00280030=tag("a", "b", vr="DS")),
        **record("Covid17"),
    },
    "values_not_in_form": {
        **image("Covid22", "1", _0020000D=tag("1.02.3", vr="UI"), _00101010=tag("53", vr="AS")),
        **image("Covid22", "2", _0020000D=tag("1.2." + "3" * 61, vr="UI"), _00101010=tag("UNK", vr="AS")),
        **image("Covid22", "3", _0020000D=tag("0.3.10", vr="UI"), _00101010=tag("053Y", vr="AS")),
        **record("Covid22"),
    },
    "new_field": {
        **record("Covid18", **{"Favourite colour": "blue"}),
        **record("Covid19", OtherDataSources={"SegmentationData": {"Favourite colour": "red"}, "Else": 1}),
    },
    "death_before_admission": {
        **record("Covid30", **{"Date of admission": "02/20/2020", "Date of death": "02/10/2020"}),
        **record("Covid30", LATER, **{"Date of admission": "02/01/2020", "Date of death": "02/10/2020"}),
        **record("Covid31", LATER, **{"Date of admission": "02/20/2020", "Date of death": "02/19/2020"}),
    },
    "date_outside_window": record("Covid32", **{"Date of admission": "03/05/2020"}),
    "intubation_without_itu": {
        **record("Covid33", Intubation="1", **{"ITU admission": "0"}),
        **record("Covid34", **{"Date of intubation": "02/20/2020"}),
        **record("Covid35", Intubation="1", **{"ITU admission": "1"}),
        **record("Covid36", Intubation="1", **{"Date of ITU admission": "02/19/2020"}),
        **record("Covid37", Intubation="0"),
    },
    "negative_with_positive_result": {
        **record("Covid40", SwabDate="20/02/2020", SwabStatus="1"),
        **record("Covid41", SwabDates=[{"SwabDate": "20/02/2020", "SwabStatus": "1"}, {"SwabStatus": "0"}]),
        **record("Covid42", SwabDates=[{"SwabDate": "20/02/2020", "SwabStatus": "0"}]),
    },
    "values_out_of_range": {
        **record("Covid43", Age="700"),
        **record("Covid44", Age="-5", **{"Temperature on admission": "370"}),
    },
    "identifying_attributes": {
        **image("Covid20", "1", _00080080=tag("St Elsewhere")),
        **image("Covid20", "2", _00100030=tag("19560312", vr="DA")),
        **image(
            "Covid20",
            "3",
            _00081111={"vr": "SQ", "Value": [{"00081050": tag({"Phonetic": "Doe^Jane"}, vr="PN")}]},
        ),
        **image("Covid20", "4", _00101002={"vr": "SQ", "Value": [{"00100020": tag("9434765919")}]}),
        **image("Covid20", "5", day=LATER, _00100010=tag({"Alphabetic": "Doe^Jane"}, vr="PN")),
        **image("Covid20", "6", _00081040="St Elsewhere", _00101000={"vr": "UN", "InlineBinary": "H0SP1TAL99"}),
        **record("Covid20"),
    },
    "identifying_text": {
        **image("Covid21", "1", _00204000=tag("NHS 943 476 5919, DOB 12/03/1956", vr="LT")),
        **image("Covid21", "2", _00104000=tag("first", "line\nDoe^Jane", vr="LT")),
        **image("Covid21", "3", _00400254=tag("lives at SW1A 1AA"), _00191010=tag("call 020 7946 0958")),
        **image("Covid21", "4", day=LATER, _00081030=tag("seen by Dr Doe")),
        **record("Covid21"),
    },
}

EXPECTED: dict[str, list[tuple[object, ...]]] = {
    "image_of_another_patient": [("Covid10", metadata("Covid10", "1"), "Covid1")],
    "record_of_another_patient": [("Covid11", record_key("Covid11"), "Covid1")],
    "duplicate_sop_instance_uid": [
        ("Covid12", metadata("Covid12", "1"), "1.9.9", 2),
        ("Covid12", metadata("Covid12", "2", LATER), "1.9.9", 2),
    ],
    "dcm_without_metadata": [("Covid13", f"training/Covid13/images/{DAY}/1.dcm")],
    "metadata_without_dcm": [("Covid14", metadata("Covid14", "1"))],
    "images_without_clinical": [("Covid15", "training")],
    "study_after_available": [("Covid16", metadata("Covid16", "1"))],
    "unread_values": [
        (metadata("Covid17", "1"), "KVP", "00180060", "DOUBLE", 2, 1),
        (metadata("Covid22", "2"), "PatientAge", "00101010", "VARCHAR", 1, 1),
        (metadata("Covid17", "2"), "PixelSpacing", "00280030", "DOUBLE[]", 1, 1),
        (metadata("Covid17", "1"), "SeriesDate", "00080021", "DATE", 1, 1),
    ],
    "values_not_in_form": [
        (metadata("Covid22", "1"), "PatientAge", 1, 1),
        (metadata("Covid22", "1"), "StudyInstanceUID", 2, 1),
    ],
    "new_field": [
        ("Favourite colour", 2, 2, ["Leeds"], record_key("Covid18")),
        ("OtherDataSources.Else", 1, 1, ["Leeds"], record_key("Covid19")),
    ],
    "death_before_admission": [
        ("Covid31", record_key("Covid31", LATER), date(2020, 2, 19), date(2020, 2, 20), -1, "Leeds"),
    ],
    "date_outside_window": [("Covid32", record_key("Covid32"), "Date of admission", "03/05/2020")],
    "intubation_without_itu": [
        ("Covid33", record_key("Covid33"), True, None, False, None, "Leeds"),
        ("Covid34", record_key("Covid34"), None, date(2020, 2, 20), None, None, "Leeds"),
    ],
    "negative_with_positive_result": [
        ("Covid40", record_key("Covid40"), "Positive"),
        ("Covid41", record_key("Covid41"), None),
    ],
    "values_out_of_range": [
        ("Leeds", "age", 2, 2, record_key("Covid43")),
        ("Leeds", "temperature_on_admission", 1, 1, record_key("Covid44")),
    ],
    "identifying_attributes": [
        ("Covid20", metadata("Covid20", "1"), "InstitutionName", "00080080", "an institution", "S… (12)"),
        ("Covid20", metadata("Covid20", "2"), "PatientBirthDate", "00100030", "a birth date", "1… (8)"),
        (
            "Covid20",
            metadata("Covid20", "3"),
            "PerformingPhysicianName",
            "00081050",
            "a physician or operator",
            "D… (8)",
        ),
        ("Covid20", metadata("Covid20", "4"), "OtherPatientIDsSequence", "00101002", "a patient identifier", "9… (10)"),
        ("Covid20", metadata("Covid20", "4"), "PatientID", "00100020", "a patient identifier", "9… (10)"),
        ("Covid20", metadata("Covid20", "6"), "InstitutionalDepartmentName", "00081040", "an institution", "S… (12)"),
        ("Covid20", metadata("Covid20", "6"), "OtherPatientIDs", "00101000", "a patient identifier", "H… (10)"),
        ("Covid20", metadata("Covid20", "5", LATER), "PatientName", "00100010", "a name", "D… (8)"),
    ],
    "identifying_text": [
        ("Covid21", metadata("Covid21", "1"), "ImageComments", "00204000", "a date of birth", "1… (10)"),
        ("Covid21", metadata("Covid21", "1"), "ImageComments", "00204000", "an NHS number", "9… (12)"),
        ("Covid21", metadata("Covid21", "2"), "PatientComments", "00104000", "a name", "D… (8)"),
        ("Covid21", metadata("Covid21", "3"), "PerformedProcedureStepDescription", "00400254", "a postcode", "S… (8)"),
        ("Covid21", metadata("Covid21", "3"), None, "00191010", "a telephone number", "0… (13)"),
        ("Covid21", metadata("Covid21", "4", LATER), "StudyDescription", "00081030", "a name", "D… (3)"),
    ],
}
#: Rules about the whole snapshot; only a broken lake has rows for them.
BLOCKING = {"books", "rows_out_of_date", "rows_twice", "rows_unpaired"}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of a bucket with every fault among what is sound, and one fault in the group held back."""
    root = tmp_path_factory.mktemp("checks")
    held_back = {
        **image("Covid99", "1", group="validation", _00080080=tag("St Elsewhere")),
        **record("Covid99", group="validation"),
    }
    write_objects(root / "bucket", SOUND | held_back)
    for objects in FAULTY.values():
        write_objects(root / "bucket", objects)
    warehouse.refresh(str(root / "bucket"), str(start_lake(root / "lake")))
    return root / "lake"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sound")
    write_objects(root / "bucket", SOUND)
    warehouse.refresh(str(root / "bucket"), str(start_lake(root / "lake")))
    return root / "lake"


@pytest.fixture
def here(here: Chest) -> Chest:
    """The command within this process; none of the patients' texts is in what it writes."""

    def run(*words: object) -> "subprocess.CompletedProcess[str]":
        done = here(*words)
        assert not [secret for secret in SECRETS if secret in done.stdout + done.stderr]
        return done

    return run


def faults(wh: warehouse.Warehouse, name: str) -> list[tuple[object, ...]]:
    """The faulty rows of a check, as many columns of them as are expected."""
    (result,) = wh.check(name)
    rows = [tuple(row.values()) for row in result.rows.to_pylist()]
    assert result.n_rows == len(rows)
    return rows


@pytest.mark.parametrize("name", EXPECTED)
def test_a_rule_finds_its_faults_and_no_others(faulty: Path, name: str) -> None:
    expected = EXPECTED[name]
    with warehouse.open(str(faulty)) as wh:
        found = faults(wh, name)
    assert [row[: len(expected[0])] for row in found] == expected
    assert not any(secret in str(found) for secret in SECRETS)


@pytest.mark.slow
def test_sound_data_breaks_no_rule(sound: Path, here: Chest) -> None:
    with warehouse.open(str(sound)) as wh:
        assert {result.check.name: result.n_rows for result in wh.check() if result.n_rows} == {}
    done = here("check", "--lake", sound)
    assert done.returncode == 0
    assert f"{len(checks.load_definitions())} checks: 0 failed, 0 with warnings." in done.stderr


def test_every_rule_is_tried_here() -> None:
    # Of what cannot be read, of several sources, and of equal bytes on S3: test_unreadable.py, test_sources.py and
    # test_splits_leaks.py.
    elsewhere = {"objects_unread", "rows_held_over", "patients_of_two_sources", "same_bytes"}
    assert set(EXPECTED) | BLOCKING | elsewhere == set(checks.load_definitions())
    assert {name for name, check in checks.load_definitions().items() if check.severity == "blocking"} == BLOCKING


@pytest.mark.parametrize("name", ["identifying_attributes", "identifying_text", "duplicate_sop_instance_uid"])
def test_as_of_a_day_later_faults_are_not_there(faulty: Path, name: str) -> None:
    with warehouse.open(str(faulty)) as wh:
        found = faults(wh.as_of("2020-05-31"), name)
        later = [row for row in faults(wh, name) if LATER in str(row[1])]
    expected = [row for row in EXPECTED[name] if LATER not in str(row[1])]
    assert later
    # A UID is shared only when both images are there.
    assert [row[: len(EXPECTED[name][0])] for row in found] == ([] if name.startswith("duplicate") else expected)


def test_as_of_a_day_another_record_counts(faulty: Path) -> None:
    with warehouse.open(str(faulty)) as wh:
        (row,) = faults(wh.as_of("2020-05-31"), "death_before_admission")
        assert row[:2] == ("Covid30", record_key("Covid30"))
        assert faults(wh.as_of("2020-02-28"), "date_outside_window") == []
        assert faults(wh.group("validation"), "values_out_of_range") == []


def test_a_dcm_is_judged_by_the_day_and_group(faulty: Path) -> None:
    with warehouse.open(str(faulty)) as wh:
        assert faults(wh.as_of("2020-02-28"), "dcm_without_metadata") == []
        assert faults(wh.group("validation"), "dcm_without_metadata") == []


def test_the_group_is_obeyed(faulty: Path, here: Chest) -> None:
    with warehouse.open(str(faulty)) as wh:
        (row,) = faults(wh.group("validation"), "identifying_attributes")
        assert row[:3] == ("Covid99", metadata("Covid99", "1", group="validation"), "InstitutionName")
        assert len(faults(wh.group("all"), "identifying_attributes")) == len(EXPECTED["identifying_attributes"]) + 1
    done = here("check", "identifying_attributes", "--lake", faulty, "--group", "validation", "--format", "json")
    assert done.returncode == 1
    assert json.loads(done.stdout)[0]["rows"] == 1


def test_the_table_of_all_checks(faulty: Path, here: Chest) -> None:
    done = here("check", "--lake", faulty)
    assert done.returncode == 1
    for name, check in checks.load_definitions().items():
        rows = len(EXPECTED.get(name, []))
        assert re.search(rf"^{name} +{check.severity} +{rows} ", done.stdout, re.MULTILINE), name


def test_a_single_check_shows_its_meaning_and_its_rows(faulty: Path, here: Chest) -> None:
    done = here("check", "identifying_attributes", "--lake", faulty, "--limit", 3)
    assert done.returncode == 1
    assert "PS3.15" in done.stdout
    shown = [row for row in EXPECTED["identifying_attributes"] if str(row[1]) in done.stdout]
    assert shown == EXPECTED["identifying_attributes"][:3]
    assert "3 of 8 rows shown" in done.stderr


@pytest.mark.slow
def test_all_at_once_find_what_each_finds_alone(faulty: Path) -> None:
    with warehouse.open(faulty) as wh:
        together = checks.run_checks(wh)
        alone = [checks.run_checks(wh, result.check.name)[0] for result in together]
    assert [result.n_rows for result in together] == [result.n_rows for result in alone]
    assert [result.rows.to_pylist() for result in together] == [result.rows.to_pylist() for result in alone]
    assert [result.patients for result in together] == [result.patients for result in alone]
    assert [result.check for result in together] == [result.check for result in alone]


def test_warnings_do_not_fail(faulty: Path, here: Chest) -> None:
    done = here("check", "identifying_text", "--lake", faulty)
    assert done.returncode == 0
    assert "rows       6" in done.stdout


def test_json(faulty: Path, here: Chest) -> None:
    done = here("check", "--lake", faulty, "--format", "json", "--limit", 1)
    assert done.returncode == 1
    found = {row["name"]: row for row in json.loads(done.stdout)}
    assert list(found) == list(checks.load_definitions())
    for name, row in found.items():
        expected = EXPECTED.get(name, [])
        assert row["rows"] == len(expected)
        assert len(row["faults"]) == min(1, len(expected))
        assert row["failed"] == (row["severity"] != "warning" and row["rows"] > 0)
    assert found["study_after_available"]["faults"][0]["days"] == 1


def test_unknown_names_and_formats(faulty: Path, here: Chest) -> None:
    done = here("check", "identifying_txt", "--lake", faulty)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Did you mean identifying_text?" in done.stderr
    assert here("check", "--lake", faulty, "--format", "csv").returncode == 2
    with pytest.raises(UsageError, match="no check 'xyzzy'"):
        checks.find_definition("xyzzy")


def test_list_needs_no_lake(here: Chest, tmp_path: Path) -> None:
    done = here("check", "--list", "--lake", tmp_path / "none")
    assert done.returncode == 0
    for name in checks.load_definitions():
        assert name in done.stdout
    listed = json.loads(here("check", "--list", "--format", "json").stdout)
    assert [row["name"] for row in listed] == list(checks.load_definitions())


def test_every_check_has_a_complete_header() -> None:
    for check in checks.load_definitions().values():
        assert check.title
        assert not check.title.endswith(".")
        assert check.meaning.endswith(".")
        assert "{{" not in check.sql
    assert list(checks.load_definitions())[: len(BLOCKING)] == sorted(BLOCKING)


def test_the_declared_identifying_attributes_are_dicoms() -> None:
    from pydicom.datadict import tag_for_keyword

    from warehouse.catalog import columns

    for row in columns.list_identifying_attributes():
        assert f"{tag_for_keyword(row['keyword']):08X}" == row["tag"]
        assert row["allowed"] in ("", "the pseudonym", "1 January")


@pytest.mark.slow
def test_the_faults_of_a_broken_lake_are_listed_row_by_row(tmp_path: Path, here: Chest) -> None:
    """Nothing that our own refresh does breaks these rules, so the tables are broken by hand, and published."""
    objects = {**image("Covid1", "1"), **image("Covid1", "2"), **image("Covid1", "3")}
    objects |= {**record("Covid1"), **record("Covid2"), **record("Covid3")}
    write_objects(tmp_path / "bucket", objects)
    folder = str(start_lake(tmp_path / "lake"))
    warehouse.refresh(str(tmp_path / "bucket"), folder)
    first, second, third = (metadata("Covid1", name) for name in "123")

    def tamper() -> None:
        con.execute(f"insert into raw.headers from raw.headers where key = '{first}'")
        con.execute(f"update core.images set etag = 'old' where key = '{second}'")
        con.execute(f"delete from raw.headers where key = '{third}'")
        con.execute(f"delete from raw.records where key = '{record_key('Covid1')}'")
        con.execute(f"delete from core.clinical where key = '{record_key('Covid2')}'")
        con.execute(f"delete from raw.objects where key = '{record_key('Covid3')}'")

    with store.open_writer(location.parse_address(folder), Settings()) as con:
        store.transact(con, "tampered with", tamper, published=True)
    source = str(tmp_path / "bucket")
    with warehouse.open(folder).as_of("1999-01-01").group("validation") as wh:
        assert faults(wh, "rows_twice") == [("Covid1", first, source, "raw.headers", 2)]
        assert faults(wh, "rows_out_of_date") == [
            ("Covid1", second, source, "core.images", "the object was replaced"),
            ("Covid3", record_key("Covid3"), source, "core.clinical", "the object is gone"),
        ]
        assert faults(wh, "rows_unpaired") == [
            ("Covid1", record_key("Covid1"), source, "core.clinical", "raw.records"),
            ("Covid1", third, source, "core.images", "raw.headers"),
            ("Covid2", record_key("Covid2"), source, "raw.records", "core.clinical"),
        ]
        assert faults(wh, "books") == []  # of either side one record is gone
    assert here("check", "rows_twice", "--lake", folder).returncode == 1
    with store.open_writer(location.parse_address(folder), Settings()) as con:
        store.transact(con, "again", lambda: con.execute("delete from core.images"), published=True)
    with warehouse.open(folder) as wh:
        assert faults(wh, "books") == [(source, "header", 3, 0, 0, 3)]


@pytest.mark.slow
def test_a_snapshot_that_lacks_what_a_check_asks_for(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "-- title: t\n-- meaning: m.\n-- severity: error\n-- table: images\nselect * from nowhere"
    known = checks.load_definitions()
    asks = checks.Check("later", "t", "m.", checks.Severity.ERROR, "images", text)
    monkeypatch.setattr(check_rules, "load_definitions", lambda: known | {"later": asks})
    with warehouse.open(str(sound)) as wh, pytest.raises(LakeError, match="lacks what this version"):
        wh.check("later")


def test_macros_of_a_session(sound: Path) -> None:
    with warehouse.open(str(sound)) as wh:
        assert wh.sql("select masked(' Jane Doe ')").fetchone() == ("J… (8)",)
        assert sql_files.list_files("macros")
