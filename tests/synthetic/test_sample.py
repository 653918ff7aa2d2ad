"""The sample bucket: the same seed gives the same bytes, and its truth is what lies in the folder.

test_sample_truth.py checks that a lake refreshed from it agrees.
"""

import csv
import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from warehouse import synthetic
from warehouse.errors import UsageError
from warehouse.object_store.keys import ANSWERS

PATIENTS, SEED = 150, 10  # few patients who have everything that can go wrong

# The grammars as documented, apart from warehouse/object_store/keys.py.
DATED = re.compile(
    r"training/(?P<patient>[^/]+)/(images/(?P<d1>\d{4}-\d\d-\d\d)/(?P<i1>[^/]+)\.dcm"
    r"|images_metadata/(?P<d2>\d{4}-\d\d-\d\d)/(?P<i2>[^/]+)\.json|data/(?P<d3>\d{4}-\d\d-\d\d)/data\.json)"
)
PUBLISHED = re.compile(
    r"training/((?P<folder>ct|mri|xray|x-ray|unknown)(?P<meta>-metadata)?/(?P<p1>[^/]+)/(?P<study>[^/]+)/(?P<series>[^/]+)"
    r"/(?P<image>[^/]+)\.(?P<suffix>dcm|json)"
    r"|data/(?P<p2>[^/]+)/(?P<record>data|status)_(?P<date>\d{4}-\d\d-\d\d)\.json)"
)
NEGATIVE = {"SwabStatus", "SwabDate", "SwabDates"}
EVERYONE = {"Pseudonym", "SubmittingCentre", "Hospital", "Age", "Sex", "Ethnicity"}

SOP, STUDY, SERIES, MODALITY, PATIENT_ID = "00080018", "0020000D", "0020000E", "00080060", "00100020"
STUDY_DATE, INSTANCE, POSITION, LOCATION = "00080020", "00200013", "00200032", "00201041"
NAME, BIRTH_DATE, AGE = "00100010", "00100030", "00101010"
IDENTIFYING = ("00080080", "00080081", "00080090", "00081050", "00081070", "00101040", "00102154")
FREE_TEXT = ("00204000", "00104000", "001021B0", "00081030")


class Clinical(NamedTuple):
    patient: str
    kind: str
    day: str
    content: bytes


class Header(NamedTuple):
    patient: str
    day: str
    content: bytes


class Bucket(NamedTuple):
    """The content of a folder, read by the rules of the layouts alone."""

    headers: dict[str, Header]
    stubs: set[str]
    records: list[Clinical]


def written(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def objects(out: Path) -> list[Path]:
    return sorted(p for p in out.rglob("*") if p.is_file() and p.name not in ANSWERS)


def read(out: Path, layout: str) -> Bucket:
    bucket = Bucket({}, set(), [])
    for path in objects(out):
        key = path.relative_to(out).as_posix()
        match = (DATED if layout == "dated" else PUBLISHED).fullmatch(key)
        assert match, key
        found = match.groupdict()
        patient = found.get("patient") or found.get("p1") or found.get("p2") or ""
        day = found.get("d1") or found.get("d2") or found.get("d3") or found.get("date")
        day = day or f"{written(path):%Y-%m-%d}"
        if found.get("d3") or found.get("date"):
            content = path.read_bytes()
            by_fields = "data" if json.loads(content).keys() - EVERYONE - NEGATIVE else "status"
            bucket.records.append(Clinical(patient, found.get("record") or by_fields, day, content))
        elif path.suffix == ".json":
            bucket.headers[path.stem] = Header(patient, day, path.read_bytes())
        else:
            bucket.stubs.add(path.stem)
            assert path.read_bytes()[128:132] == b"DICM"
    return bucket


def value(header: Header, tag: str) -> Any:
    return json.loads(header.content)[tag]["Value"][0]


def answers(out: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / name).read_text().splitlines()]


def rules() -> set[str]:
    with (Path(synthetic.__file__).parents[2] / "sql/cleaning/rules.csv").open(newline="") as file:
        return {row["rule"] for row in csv.DictReader(file)}


def fingerprint(out: Path) -> str:
    digest = hashlib.sha256()
    for path in [*objects(out), *(out / name for name in ANSWERS)]:
        digest.update(f"{path.relative_to(out).as_posix()} {path.stat().st_mtime_ns}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("sample")
    for layout in synthetic.LAYOUTS:
        synthetic.make_bucket(root / layout, PATIENTS, layout, seed=SEED)
    return {layout: root / layout for layout in synthetic.LAYOUTS}


@pytest.fixture(scope="module")
def buckets(folders: dict[str, Path]) -> dict[str, Bucket]:
    return {layout: read(out, layout) for layout, out in folders.items()}


@pytest.fixture(scope="module")
def truth(folders: dict[str, Path]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folders["dated"] / "truth.json").read_text())
    return found


@pytest.mark.parametrize("layout", synthetic.LAYOUTS)
def test_same_seed_same_bytes(tmp_path: Path, layout: str) -> None:
    for name in ("one", "two"):
        synthetic.make_bucket(tmp_path / name, 3, layout, seed=4)
    assert fingerprint(tmp_path / "one") == fingerprint(tmp_path / "two")


def test_another_process_with_other_hashes_writes_the_same_bytes(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from warehouse import synthetic; synthetic.make_bucket(pathlib.Path(sys.argv[1]), 3)"
    )
    for hash_seed in ("1", "2"):
        command = [sys.executable, "-c", program, str(tmp_path / hash_seed)]
        subprocess.run(
            command,
            check=True,
            cwd=Path(synthetic.__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "TZ": f"UTC+{hash_seed}"},
        )
    assert fingerprint(tmp_path / "1") == fingerprint(tmp_path / "2")


def test_another_seed_gives_another_bucket(tmp_path: Path) -> None:
    for seed in (0, 1):
        synthetic.make_bucket(tmp_path / str(seed), 3, seed=seed)
    assert fingerprint(tmp_path / "0") != fingerprint(tmp_path / "1")


@pytest.mark.parametrize("layout", synthetic.LAYOUTS)
def test_a_patient_does_not_depend_on_how_many_there_are(tmp_path: Path, layout: str) -> None:
    files: dict[int, dict[str, tuple[bytes, datetime]]] = {}
    for patients in (5, 8):
        out = tmp_path / str(patients)
        synthetic.make_bucket(out, patients, layout)
        first_five = {f"Covid{number}" for number in range(1, 6)}
        files[patients] = {
            path.relative_to(out).as_posix(): (path.read_bytes(), written(path))
            for path in objects(out)
            if first_five & set(path.relative_to(out).parts)
        }
    assert files[5] == files[8]


@pytest.mark.slow
def test_both_layouts_hold_the_same_facts(buckets: dict[str, Bucket], folders: dict[str, Path]) -> None:
    dated, published = buckets["dated"], buckets["published"]
    assert dated.headers == published.headers
    assert dated.stubs == published.stubs
    assert sorted(dated.records) == sorted(published.records)
    for name in ANSWERS:
        assert (folders["dated"] / name).read_bytes() == (folders["published"] / name).read_bytes()


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("layout", synthetic.LAYOUTS)
def test_truth_counts_equal_a_recount(
    buckets: dict[str, Bucket], folders: dict[str, Path], truth: dict[str, Any], layout: str
) -> None:
    bucket = buckets[layout]
    headers = bucket.headers.values()
    counts = {
        name: count for name, count in truth.items() if name not in ("as_of", "clinical_issues", "faults", "ct_series")
    }
    assert counts == {
        "objects": len(objects(folders[layout])),
        "image_json": len(headers),
        "clinical_json": len(bucket.records),
        "patients": len({h.patient for h in headers} | {r.patient for r in bucket.records}),
        "studies": len({value(h, STUDY) for h in headers}),
        "series": len({value(h, SERIES) for h in headers}),
        "modality": Counter(value(h, MODALITY) for h in headers),
    }
    assert sum(truth["ct_series"].values()) == len({value(h, SERIES) for h in headers if value(h, MODALITY) == "CT"})


@pytest.mark.parametrize("layout", synthetic.LAYOUTS)
def test_truth_as_of_equals_a_naive_answer(buckets: dict[str, Bucket], truth: dict[str, Any], layout: str) -> None:
    assert len(truth["as_of"]) == 5
    for as_of, answer in truth["as_of"].items():
        available = [record for record in buckets[layout].records if record.day <= as_of]
        latest: dict[str, str] = {}
        for kind in ("status", "data"):  # a data file counts before any status file
            of_kind = [record for record in available if record.kind == kind]
            for record in sorted(of_kind, key=lambda record: record.day):
                latest[record.patient] = record.day
        assert answer == {
            "patients": len(latest),
            "images": sum(h.day <= as_of for h in buckets[layout].headers.values()),
            "latest_digest": hashlib.sha256(json.dumps(latest, sort_keys=True).encode()).hexdigest(),
        }


def test_the_last_as_of_date_sees_everything(truth: dict[str, Any], buckets: dict[str, Bucket]) -> None:
    last = truth["as_of"][max(truth["as_of"])]
    assert last["images"] == truth["image_json"]
    assert last["patients"] == len({record.patient for record in buckets["dated"].records})


def test_make_returns_what_it_writes(tmp_path: Path) -> None:
    returned = synthetic.make_bucket(tmp_path / "out", 4)
    assert returned == json.loads((tmp_path / "out" / "truth.json").read_text())


@pytest.mark.parametrize("layout", synthetic.LAYOUTS)
def test_files_are_as_if_written_at_noon_of_their_day(folders: dict[str, Path], layout: str) -> None:
    for path in objects(folders[layout]):
        key = path.relative_to(folders[layout]).as_posix()
        in_key = re.search(r"\d{4}-\d\d-\d\d", key)
        when = written(path)
        assert (when.hour, when.minute, when.second) == (12, 0, 0)
        assert in_key is None or in_key.group() == f"{when:%Y-%m-%d}"


def test_headers_agree_with_their_keys(folders: dict[str, Path], truth: dict[str, Any]) -> None:
    out, faults = folders["published"], truth["faults"]
    folder_of = {"CR": "xray", "DX": "xray", "CT": "ct", "MR": "mri"}
    for path in out.glob("training/*-metadata/*/*/*/*.json"):
        _, folder, patient, study, series, _ = path.relative_to(out).parts
        header = Header(patient, "", path.read_bytes())
        assert (value(header, STUDY), value(header, SERIES)) == (study, series)
        assert (value(header, PATIENT_ID) == patient) == (path.stem not in faults["image_of_another_patient"])
        assert value(header, SOP) == path.stem or path.stem in faults["duplicate_sop_instance_uid"]
        assert f"{folder_of.get(value(header, MODALITY), 'unknown')}-metadata" == folder.replace("x-ray", "xray")


def test_headers_are_of_real_size_and_uploaded_soon_after_the_study(
    buckets: dict[str, Bucket], truth: dict[str, Any]
) -> None:
    early = truth["faults"]["study_after_available"]
    for name, header in buckets["dated"].headers.items():
        assert 4_000 <= len(header.content) <= 9_000
        study = datetime.strptime(value(header, STUDY_DATE), "%Y%m%d").date()
        assert date(2020, 2, 1) <= study <= date(2021, 12, 31)
        days = (date.fromisoformat(header.day) - study).days
        assert -5 <= days < 0 if name in early else 0 <= days <= 20


def test_headers_of_a_series_differ_in_what_belongs_to_the_image_alone(buckets: dict[str, Bucket]) -> None:
    series = defaultdict(list)
    for header in buckets["dated"].headers.values():
        series[value(header, SERIES)].append(json.loads(header.content))
    assert max(map(len, series.values())) > 1
    for first, *others in series.values():
        for other in others:
            assert {tag for tag in first if first[tag] != other[tag]} <= {SOP, INSTANCE, POSITION, LOCATION}


def test_the_sample_covers_the_defects_of_real_buckets(buckets: dict[str, Bucket], truth: dict[str, Any]) -> None:
    bucket = buckets["published"]
    assert bucket.headers.keys() - bucket.stubs, "a header without its .dcm"
    assert bucket.stubs - bucket.headers.keys(), "a .dcm without its header"
    imaged = {header.patient for header in bucket.headers.values()}
    recorded = {record.patient for record in bucket.records}
    assert imaged - recorded
    assert recorded - imaged
    kinds = defaultdict(set)
    for record in bucket.records:
        kinds[record.patient].add(record.kind)
        if json.loads(record.content)["Pseudonym"].strip() != record.patient:
            assert record.patient in truth["faults"]["record_of_another_patient"]
    assert {"status", "data"} in kinds.values(), "a patient first negative, then positive"
    positive = sum("data" in found for found in kinds.values())
    assert 0.2 < positive / len(kinds) < 0.5
    assert {value(header, MODALITY) for header in bucket.headers.values()} >= {"CR", "DX", "CT", "OT"}


def test_defects_of_images_are_those_of_the_truth(buckets: dict[str, Bucket], truth: dict[str, Any]) -> None:
    bucket, faults = buckets["dated"], truth["faults"]
    assert set(faults["metadata_without_dcm"]) == bucket.headers.keys() - bucket.stubs
    assert set(faults["dcm_without_metadata"]) == bucket.stubs - bucket.headers.keys()
    twice = {name for name, header in bucket.headers.items() if value(header, SOP) != name}
    assert set(faults["duplicate_sop_instance_uid"]) == twice | {value(bucket.headers[name], SOP) for name in twice}
    imaged = {header.patient for header in bucket.headers.values()}
    assert set(faults["images_without_clinical"]) == imaged - {record.patient for record in bucket.records}
    for name, header in bucket.headers.items():
        tags = json.loads(header.content)
        named = {tag for tag in IDENTIFYING if tags.get(tag, {}).get("Value")}
        if tags[NAME]["Value"][0]["Alphabetic"] != value(header, PATIENT_ID):
            named.add(NAME)
        if not value(header, BIRTH_DATE).endswith("0101"):
            named.add(BIRTH_DATE)
        assert len(named) == (name in faults["identifying_attributes"])


def test_identity_left_in_a_header_is_invented(buckets: dict[str, Bucket], truth: dict[str, Any]) -> None:
    headers = buckets["dated"].headers
    spoilt = truth["faults"]["identifying_text"]
    assert spoilt
    for name in spoilt:
        tags = json.loads(headers[name].content)
        text = " ".join(str(tags.get(tag, {}).get("Value")) for tag in FREE_TEXT)
        assert re.search(r"Mr \w+|DOB|NHS No|ZZ99 3VZ|Tel (01632 960|07700 900|020 7946 0)", text), text
        for number in re.findall(r"NHS No ([\d ]+)", text):
            digits = [int(digit) for digit in number.replace(" ", "")]
            assert digits[:3] == [9, 9, 9]
            assert sum(digit * weight for digit, weight in zip(digits, range(10, 0, -1), strict=True)) % 11 == 0


@pytest.mark.slow
def test_ages_in_headers_come_in_every_form(tmp_path: Path) -> None:
    synthetic.make_bucket(tmp_path / "b", 500, seed=2)
    forms = Counter[str]()
    for path in (tmp_path / "b").glob("training/*/images_metadata/*/*.json"):
        age = json.loads(path.read_bytes())[AGE].get("Value", ["missing"])[0]
        forms[re.sub(r"\d+", "", age) or "bare"] += 1
    assert forms.keys() == {"Y", "M", "W", "D", "bare", "missing"}
    assert forms.most_common(1)[0][0] == "Y"


def test_the_clinical_truth_has_a_line_for_each_file(
    folders: dict[str, Path], buckets: dict[str, Bucket], truth: dict[str, Any]
) -> None:
    lines = answers(folders["dated"], "truth_clinical.jsonl")
    assert sorted((line["patient_id"], line["kind"], line["available_date"]) for line in lines) == sorted(
        record[:3] for record in buckets["dated"].records
    )
    assert Counter(rule for line in lines for _, rule in line["issues"]) == truth["clinical_issues"]


def test_the_truth_of_patients_fills_from_headers(folders: dict[str, Path], truth: dict[str, Any]) -> None:
    people = answers(folders["dated"], "truth_patients.jsonl")
    assert len(people) == truth["patients"]
    for name in ("age", "sex"):
        assert {person[f"{name}_source"] for person in people} >= {"record", "header"}
        assert all((person[name] is None) == (person[f"{name}_source"] is None) for person in people)


def test_every_rule_and_every_fault_occurs(truth: dict[str, Any]) -> None:
    # A field twice in one object: no library that centres use to write JSON does that. Odd signs and placeholder days
    # are too rare to be invented for each bucket: tests/cleaning/test_cleaning_properties.py has them.
    assert truth["clinical_issues"].keys() == rules() - {"duplicate_field", "number_spelling", "placeholder_date"}
    assert [fault for fault, found in truth["faults"].items() if not found] == []


@pytest.mark.parametrize("layout", synthetic.LAYOUTS)
def test_a_clean_bucket_has_no_slips_and_no_faults(tmp_path: Path, layout: str) -> None:
    truth = synthetic.make_bucket(tmp_path / "b", 60, layout, clean=True)
    assert truth["ct_series"].keys() <= {"even", "single", "localizer"}  # type: ignore[attr-defined]
    faults: Any = truth["faults"]
    assert not any(faults.values())
    # Centres have units of their own, and codes for unknown are not errors.
    issues: Any = truth["clinical_issues"]
    assert {rule for rule in issues if not rule.startswith("unit_")} <= {"unknown_code", "outside_printed_range"}
    bucket = read(tmp_path / "b", layout)
    assert bucket.headers.keys() == bucket.stubs


def test_progress_counts_the_patients(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    synthetic.make_bucket(tmp_path / "out", 3, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    assert synthetic.make_bucket(tmp_path, 1)["patients"] == 1


def test_a_folder_with_something_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match=re.escape(str(tmp_path))):
        synthetic.make_bucket(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UsageError, match="is in the way"):
        synthetic.make_bucket(tmp_path / "out", 1)


@pytest.mark.parametrize(
    ("patients", "layout", "named"),
    [(0, "dated", "cannot have 0 patients"), (-3, "dated", "cannot have -3 patients"), (1, "x", "'x'")],
)
def test_what_cannot_be_made_is_refused(tmp_path: Path, patients: int, layout: str, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        synthetic.make_bucket(tmp_path / "out", patients, layout)
    assert not (tmp_path / "out").exists()
