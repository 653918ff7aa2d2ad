"""Zero bytes in what a bucket has: DuckLake would end a text there, and run what follows as SQL."""

import json
from pathlib import Path

import pytest
from conftest import Chest, write_objects

import warehouse
from warehouse.engine.placeholders import replace_nuls
from warehouse.settings import Settings

#: Ends the statement into which DuckLake writes what a join looks for, and writes a file by another.
SQL = " is null)))); copy (select 1) to $${file}$$; select ((((1\0b"
STUDY, SERIES = "0020000D", "0020000E"
JOIN = "select count(*) as n from images join (select {names} from images where Modality = 'CT') using ({names})"


def build_header(modality: str, study: str, series: str) -> str:
    values = {"00080060": ("CS", modality), STUDY: ("UI", study), SERIES: ("UI", series)}
    return json.dumps({tag: {"vr": vr, "Value": [text]} for tag, (vr, text) in values.items()})


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("is_turned", [False, True])
def test_uids_of_a_header_are_no_sql(is_turned: bool, tmp_path: Path, here: Chest) -> None:
    uids = ["a\0b", SQL.format(file=tmp_path / "theirs.csv")]
    uids = uids[::-1] if is_turned else uids
    objects: dict[str, bytes | str] = {
        f"training/P1/images_metadata/2020-04-01/{name}.json": content
        for name, content in {
            "bad": build_header("CT", *uids),
            "padded": build_header("CT", "1.2\0", "1.3\0"),
            "good": build_header("CR", "1.2", "1.3"),
        }.items()
    }
    write_objects(tmp_path / "bucket", objects)
    done = warehouse.refresh(tmp_path / "bucket", tmp_path / "lake")
    assert (done.images.loaded, done.images.rejected) == (3, 0)
    for names in ("StudyInstanceUID, SeriesInstanceUID", "SeriesInstanceUID, StudyInstanceUID"):
        found = here("sql", JOIN.format(names=names), "--format", "csv", "--lake", tmp_path / "lake")
        assert (found.returncode, found.stdout.split()) == (0, ["n", "3"]), found.stderr
    assert not (tmp_path / "theirs.csv").exists()
    uid = "tag(header, 'StudyInstanceUID') as of_header"
    with warehouse.open(tmp_path / "lake") as wh:
        rows = wh.sql(f"select * from images join (select source, key, {uid} from headers) using (source, key)")
        found = rows.select("StudyInstanceUID, SeriesInstanceUID, of_header").fetchall()
        assert "\\x00" not in str(rows.fetchall())
    assert ("1.2", "1.3", "1.2") in found
    assert tuple(uid.replace("\0", "\ufffd").strip() for uid in (*uids, uids[0])) in found


def test_texts_of_a_clinical_file_have_none(tmp_path: Path) -> None:
    fields = {"SubmittingCentre": "Lee\0ds", "SwabStatus": "Negative", "Sex\0": "F\0", "Ethnicity": "\0", "Age": "5\0"}
    write_objects(
        tmp_path / "bucket", {f"training/P{n}/data/2020-04-01/data.json": json.dumps(fields) for n in range(2)}
    )
    done = warehouse.refresh(tmp_path / "bucket", tmp_path / "lake", settings=Settings(workers=1))
    assert (done.clinical.loaded, done.clinical.rejected) == (2, 0)
    with warehouse.open(tmp_path / "lake") as wh:
        for relation in ("clinical", "clinical_issues", "lake.core.clinical", "lake.core.clinical_issues"):
            assert wh.sql(f"from {relation}").fetchall(), relation
            assert "\\x00" not in str(wh.sql(f"from {relation}").fetchall()), relation
        assert {centre for (centre,) in wh.sql("select submitting_centre from clinical").fetchall()} == {"Lee\ufffdds"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r'"\u0000"', '"\ufffd"'),
        (r'"\\u0000"', r'"\\u0000"'),
        (r'"\\\u0000\u0000\\u0000"', '"\\\\\ufffd\ufffd\\\\u0000"'),
        (r'"\u00001"', '"\ufffd1"'),
    ],
)
def test_escaped_zero_bytes_are_found(text: str, expected: str) -> None:
    assert replace_nuls(text) == expected
    assert json.loads(replace_nuls(text)) == json.loads(text).replace("\0", "\ufffd")
