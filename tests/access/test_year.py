"""A year of an agreement: a data manager plays it with commands and forms, and an auditor reads it afterwards."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from access_steps import REQUEST, TODAY
from conftest import Chest, write_objects
from servers import serve_postgres

from warehouse.access import log, vocabulary
from warehouse.lake import location
from warehouse.settings import Settings

ID = f"{TODAY.year}-0001"
#: The year is over soon, so the agreement is renewed; the end of the programme then ends it all the same.
STARTS, ENDS, RENEWED = TODAY - timedelta(days=345), TODAY + timedelta(days=20), TODAY + timedelta(days=60)
PROGRAMME_END = TODAY - timedelta(days=1)
STAYING = ("Covid501", "Covid502", "Covid503", "Covid504", "Covid505", "Covid506")
OPTED_OUT, WITHDRAWN = "Covid777", "Covid888"
EVERYBODY = """-- title: Everybody
-- question: Who has a chest film?
-- grain: patient
with filmed as (
    -- Those who have a film.
    select patient_id from patients where n_images > 0
)
select patient_id from filmed
"""
#: What the log has of the year, in order.
EVENTS = [
    (vocabulary.ENFORCEMENT_CHANGED, "handler"),
    (vocabulary.REFUSED, "chest manifest export"),  # without an agreement
    (vocabulary.SUBMITTED, "applicant"),
    *((vocabulary.REVIEWED, role) for role in vocabulary.ROLES),
    (vocabulary.REVIEWED, vocabulary.PEER),
    (vocabulary.DECIDED, "handler"),
    (vocabulary.APPROVED, "handler"),
    (vocabulary.RELEASED, "manifest"),
    (vocabulary.RELEASED, "chest manifest download"),
    (vocabulary.RENEWED, "handler"),
    (vocabulary.LIST_CHANGED, "handler"),  # the opt-out list
    (vocabulary.REFUSED, "chest cohort attrition"),  # it would show who opted out
    *[(vocabulary.LIST_CHANGED, "handler")] * 3,  # withdrawn, purge begun, purged
    (vocabulary.RELEASED, "chest export"),
    (vocabulary.RELEASED, "chest sql"),
    (vocabulary.RELEASED, "manifest"),
    *[(vocabulary.ASKED, "chest manifest used-by")] * 2,
    (vocabulary.RELEASED, "chest manifest download"),  # of the first again, without the two
    (vocabulary.REFUSED, "chest manifest export"),  # expired
    (vocabulary.REFUSED, "chest manifest download"),
    (vocabulary.REFUSED, "chest manifest download"),
]


@pytest.fixture(params=["sqlite", "postgresql"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a lake that is not made yet."""
    if request.param == "sqlite":
        yield str(tmp_path / "lake")
        return
    with serve_postgres() as server:
        server.run("create database chest")
        yield server.address("chest", tmp_path / "lake-data")


def write_patient(bucket: Path, patient: str) -> None:
    """A film and a record of a patient."""
    key, day = f"training/{patient}", "2020-04-01"
    tags = {"00080018": f"1.2.{patient[5:]}", "0020000D": f"1.3.{patient[5:]}", "0020000E": f"1.4.{patient[5:]}"}
    tags |= {"00080060": "DX", "00100020": patient}
    header = {tag: {"Value": [value]} for tag, value in tags.items()}
    record = {"Pseudonym": patient, "SubmittingCentre": "Leeds North", "Age": "60", "Sex": "F"}
    write_objects(
        bucket,
        {
            f"{key}/images_metadata/{day}/film-{patient}.json": json.dumps(header),
            f"{key}/images/{day}/film-{patient}.dcm": f"pixels of {patient}",
            f"{key}/data/{day}/data.json": json.dumps(record),
        },
    )


@dataclass(frozen=True)
class Year:
    """A lake, its bucket, and the commands that are given in the course of the year."""

    chest: Chest
    lake: str
    folder: Path

    def do(self, *words: object, code: int = 0, because: str = "") -> str:
        """Give a command; a refusal has its reason in one line, and prints nothing else."""
        done = self.chest(*words)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        if because:
            assert because in done.stderr, (words, done.stderr)
            assert (done.stdout, done.stderr.count("\n")) == ("", 1), (words, done.stdout, done.stderr)
        return str(done.stdout)

    def hand_in(self, step: str, *words: object, form: str = "", **values: Any) -> str:
        """Fill in the empty form of a step and hand it in."""
        path = self.folder / f"{step}.yaml"
        self.do("access", "form", form or step, "-o", path)
        filled = {**yaml.safe_load(path.read_text(encoding="utf-8")), **values}
        path.write_text(yaml.safe_dump(filled), encoding="utf-8")
        return self.do("access", step, *words, path)

    def refresh(self) -> int:
        """Publish, and return the snapshot."""
        done = json.loads(self.do("refresh", self.folder / "bucket", "-q", "--format", "json"))
        return int(done["published"]["snapshot"])

    def export(self, name: str, *, code: int = 0, because: str = "", agreement: str = ID) -> dict[str, Any]:
        """Export a manifest of everybody; returns manifest.json, or {} where it was refused."""
        folder, given = self.folder / name, ("--agreement", agreement) if agreement else ()
        words = ("manifest", "export", self.folder / "everybody.sql", "-o", folder, *given)
        self.do(*words, code=code, because=because)
        assert folder.exists() == (code == 0)
        return dict(json.loads((folder / "manifest.json").read_text())) if code == 0 else {}

    def count(self, *, code: int = 0, because: str = "") -> str:
        """Count the steps to everybody under the agreement."""
        words = ("cohort", "attrition", self.folder / "everybody.sql", "--agreement", ID)
        return self.do(*words, code=code, because=because)

    def verify(self, *heads: str) -> str:
        """The log is whole, and has the heads; returns its head."""
        words = [word for head in heads for word in ("--head", head)]
        found = json.loads(self.do("access", "verify", *words, "--format", "json"))
        assert found["problems"] == []
        return str(found["head"])

    def audit(self, *words: str) -> list[dict[str, Any]]:
        return list(json.loads(self.do("audit", *words, "--format", "json")))

    def show(self) -> dict[str, Any]:
        return dict(json.loads(self.do("access", "show", ID, "--format", "json"))["agreement"])

    def read_events(self) -> list[log.Event]:
        return log.read_events(location.parse_address(self.lake), Settings())


@pytest.fixture
def year(here: Chest, lake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Year:
    monkeypatch.setenv("CHEST_LAKE", lake)
    for patient in (*STAYING, OPTED_OUT, WITHDRAWN):
        write_patient(tmp_path / "bucket", patient)
    (tmp_path / "everybody.sql").write_text(EVERYBODY)
    return Year(here, lake, tmp_path)


def apply_and_grant(year: Year) -> None:
    """The request, all reviews of it, the decision and the grant: each a form."""
    asked = {**REQUEST, "starts": str(STARTS), "ends": str(ENDS), "modalities": ["all"]}
    year.hand_in("request", **asked)
    year.do("access", "decide", ID, "--decision", "approved", code=2, because="no review by scientific advisor")
    missing = {"scientific_merit": "expertise missing", "comment": "Nobody of us knows films."}
    for number, role in enumerate(vocabulary.ROLES):
        given = {"reviewer": f"Member {number}", "role": role, "recommendation": "approve", "benefit": "met"}
        year.hand_in("review", ID, **given, **(missing if not number else {}))
    year.do("access", "decide", ID, "--decision", "approved", code=2, because="expertise is missing for scientific")
    peer = {"reviewer": "Dee Far", "role": vocabulary.PEER, "organisation": "BSTI", "scientific_merit": "met"}
    year.hand_in("review", ID, recommendation="approve", **peer)
    year.do("access", "grant", ID, "--reference", "DSA 17", code=2, because="the committee has not approved it")
    year.hand_in("decide", ID, form="decision", decision="approved", decided_by="The chair")
    year.hand_in("grant", ID, granted_by="The chair", reference="DSA 17", fields=["age"])
    shown = year.show()
    assert (shown["state"], shown["starts"], shown["ends"]) == ("active", str(STARTS), str(ENDS))
    assert shown["fields"] == ["age"], "less than was requested"


def renew(year: Year) -> None:
    """The agreement ends soon, and is renewed; not beyond the programme."""
    listed = year.chest("access", "list")
    assert f"WARNING: Agreement {ID} (University of Leeds) ends on {ENDS}, in 20 days" in listed.stderr
    year.hand_in("renew", ID, form="renewal", ends=str(RENEWED), renewed_by="The chair", reason="It takes longer.")
    assert year.show()["ends"] == str(RENEWED)


def withdraw(year: Year) -> dict[str, Any]:
    """A letter arrives: the patient is removed from every snapshot; returns the certificate."""
    path = year.folder / "certificate.json"
    year.do("withdraw", WITHDRAWN, "--purge", "--reason", "letter of 3 May", "-o", path, "-q")
    text = path.read_text(encoding="utf-8") + path.with_suffix(".txt").read_text(encoding="utf-8")
    assert not [name for name in (*STAYING, OPTED_OUT, WITHDRAWN) if name in text]
    return dict(json.loads(path.read_text(encoding="utf-8")))


@pytest.mark.slow
def test_a_year(year: Year, monkeypatch: pytest.MonkeyPatch) -> None:
    before = year.refresh()
    year.do("access", "enforce", "on", "--by", "The chair")
    year.export("none", code=1, because="only under an agreement", agreement="")
    apply_and_grant(year)
    granted = year.verify()

    first = year.export("first")
    assert (first["agreement"], first["access"]["head"], first["counts"]["patients"]) == (ID, granted, 8)
    year.do("manifest", "download", year.folder / "first", "-o", year.folder / "data", "-q")
    assert len(list((year.folder / "data").rglob("*.dcm"))) == 8
    renew(year)

    (year.folder / "opt-outs.txt").write_text(f"# of this week\n{OPTED_OUT}\n")
    year.do("withdraw", "--opt-out", "--file", year.folder / "opt-outs.txt")
    year.refresh()
    year.count(code=1, because="fewer than 5 patients")  # than the first manifest: one would be disclosed

    certificate = withdraw(year)
    assert (certificate["findings"], before in certificate["snapshots"]) == ([], True)
    year.refresh()
    require_absent(year, before)
    second = year.export("second")
    assert second["counts"]["patients"] == len(STAYING)
    assert second["access"]["head"] != granted
    list_past_manifests(year, first, second)

    monkeypatch.setenv("CHEST_PROGRAMME_END", str(PROGRAMME_END))
    expire(year)
    look_back(year, first)


def require_absent(year: Year, before: int) -> None:
    """Neither who opted out nor who withdrew is in any view, or in the snapshot before both."""
    year.do("export", "-o", year.folder / "views", "--agreement", ID, "--format", "csv")
    views = "".join(path.read_text(encoding="utf-8") for path in sorted((year.folder / "views").glob("*.csv")))
    assert all(name in views for name in STAYING)
    assert not [name for name in (OPTED_OUT, WITHDRAWN) if name in views]
    query = "select patient_id from images union select patient_id from clinical_history order by 1"
    listed = year.do("sql", query, "--snapshot", before, "--agreement", ID, "--format", "csv")
    assert listed.split() == ["patient_id", *STAYING]


def list_past_manifests(year: Year, first: dict[str, Any], second: dict[str, Any]) -> None:
    """The first manifest has both patients, and is marked; the second has neither."""
    for patient in (OPTED_OUT, WITHDRAWN):
        (line,) = year.do("manifest", "used-by", patient).splitlines()[1:]
        assert line.startswith("WITHDRAWN 1 of 8 patients")
        assert (f"agreement {ID}" in line, first["digest"] in line) == (True, True)
    marked = year.do("manifest", "used-by", "--withdrawn")
    assert marked.startswith("WITHDRAWN 2 of 8 patients")
    assert (first["digest"] in marked, second["digest"] in marked) == (True, False)
    text = "".join(path.read_text(errors="replace") for path in (year.folder / "second").iterdir() if path.is_file())
    assert not [name for name in (OPTED_OUT, WITHDRAWN) if name in text + marked]
    words = ("manifest", "download", year.folder / "first", "-o", year.folder / "again", "-q")
    done = year.chest(*words)
    assert (done.returncode, "WITHDRAWN: 2 patients have withdrawn" in done.stderr) == (1, True), done.stderr
    assert len(list((year.folder / "again").rglob("*.dcm"))) == len(STAYING)


def expire(year: Year) -> None:
    """The programme has ended, and every agreement with it."""
    assert (year.show()["state"], year.show()["ends"]) == ("expired", str(PROGRAMME_END))
    reason = f"Agreement {ID} ended on {PROGRAMME_END}"
    year.export("third", code=1, because=reason)
    for name in ("first", "second"):
        words = ("manifest", "download", year.folder / name, "-o", year.folder / "late", "-q")
        year.do(*words, code=1, because=reason)
    assert not list((year.folder / "late").rglob("*.dcm"))
    renewal = ("--ends", RENEWED + timedelta(days=1), "--reason", "More.")
    year.do("access", "renew", ID, *renewal, code=2, because=f"until {PROGRAMME_END} (CHEST_PROGRAMME_END)")


def look_back(year: Year, first: dict[str, Any]) -> None:
    """What an auditor sees at the end: an unbroken log, who took what, and the public register."""
    year.verify(first["access"]["head"])
    events = year.read_events()
    assert [(event.event, event.body.get("what") or event.role) for event in events] == EVENTS
    assert not [name for name in (*STAYING, OPTED_OUT, WITHDRAWN) if name in "".join(event.text for event in events)]
    taken = year.audit("--agreement", ID)
    assert [one["event"] for one in taken] == [
        event.number for event in events if event.event.startswith("release.") and event.about == ID
    ]
    others = [one for one in year.audit() if one["event"] not in {each["event"] for each in taken}]
    assert [(one["kind"], one.get("changes")) for one in others] == [
        ("refused", None),
        *(("list", {action: 1}) for action in ("opted out", "withdrawn", "purge begun", "purged")),
        *[("asked", None)] * 2,
    ]
    for patient in (OPTED_OUT, WITHDRAWN):
        held = {one["digest"] for one in year.audit("--patient", patient)}
        assert held == {first["digest"]}, "nothing later than the first manifest has them"
    year.do("access", "register", "-o", year.folder / "register.csv")
    (row,) = csv.DictReader((year.folder / "register.csv").read_text(encoding="utf-8").splitlines())
    assert (row["Project ID"], row["Project end date"]) == (ID, str(PROGRAMME_END))
