"""A refresh of a part of a bucket: prefixes, patients in both layouts and all groups, and all of it read again."""

import json
from pathlib import Path

import pytest
from conftest import Chest
from hypothesis import given
from hypothesis import strategies as st

import warehouse
from warehouse.errors import UsageError
from warehouse.ingest.scope import Scope
from warehouse.object_store import keys

NAMES = st.text("abcC19-_ ", min_size=1, max_size=8).filter(str.strip)


def put(bucket: Path, key: str, text: str = "{}") -> None:
    (bucket / key).parent.mkdir(parents=True, exist_ok=True)
    (bucket / key).write_text(text)


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    """P1 in both layouts and in three groups, P10 and P2 beside it."""
    folder = tmp_path / "bucket"
    for patient in ("P1", "P10", "P2"):
        put(folder, f"training/{patient}/data/2020-04-01/data.json")
        put(folder, f"validation/data/{patient}/status_2020-05-01.json")
        put(folder, f"training/ct/{patient}/1.2/1.3/1.4.dcm")
        put(folder, f"pilot/{patient}/data/2020-04-01/data.json")
    return folder


def records(lake: Path) -> dict[str, int]:
    with warehouse.open(str(lake)) as wh:
        rows = wh.group("all").sql("select patient_id, count(*) from clinical_history group by all").fetchall()
    return dict(rows)


@pytest.mark.slow
def test_patients_are_refreshed_in_every_layout_and_group_and_nobody_else(bucket: Path, new_lake: Path) -> None:
    lake = new_lake
    part = warehouse.refresh(str(bucket), str(lake), patients=["P1"])
    assert part.objects.listed == 3  # the pilot's group is not known yet
    assert records(lake) == {"P1": 2}
    warehouse.refresh(str(bucket), str(lake))
    (bucket / "pilot/P1/data/2020-04-01/data.json").unlink()
    for patient in ("P1", "P10"):
        put(bucket, f"training/{patient}/data/2020-06-01/data.json")
    again = warehouse.refresh(str(bucket), str(lake), patients=["P1", "P2"], allow_removals=True).objects
    assert (again.listed, again.added, again.changed, again.removed) == (8, 1, 0, 1)
    assert records(lake) == {"P1": 3, "P10": 3, "P2": 3}


def test_prefixes_within_each_other_count_once(bucket: Path, new_lake: Path) -> None:
    prefixes = ["training/P1", "training/P10/", "validation/"]
    assert warehouse.refresh(str(bucket), str(new_lake), prefix=prefixes).objects.listed == 5


@pytest.mark.slow
def test_full_reads_every_object_again_and_answers_the_same(bucket: Path, new_lake: Path) -> None:
    lake = new_lake
    warehouse.refresh(str(bucket), str(lake))
    before = records(lake)
    second = warehouse.refresh(str(bucket), str(lake), patients=["P1"], full=True)
    assert second.objects.changed == 4
    assert second.clinical.loaded == 3
    assert records(lake) == before
    whole = warehouse.refresh(str(bucket), str(lake), full=True)
    assert whole.objects.changed == whole.objects.listed == 12
    assert whole.clinical.loaded == 9
    assert warehouse.refresh(str(bucket), str(lake)).published.is_new is False


@pytest.mark.slow
def test_an_unknown_part_is_reported_by_its_number_not_its_name(bucket: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="patient 2 of those given matches no object") as error:
        warehouse.refresh(str(bucket), str(tmp_path / "lake"), patients=["P1", "Nobody9"])
    assert "Nobody9" not in str(error.value)
    with pytest.raises(UsageError, match="prefix 1 of those given matches no object"):
        warehouse.refresh(str(bucket), str(tmp_path / "lake"), prefix="trainning/")


def test_a_patient_who_is_gone_from_the_bucket_can_still_be_named(bucket: Path, new_lake: Path) -> None:
    lake = new_lake
    warehouse.refresh(str(bucket), str(lake))
    for path in [path for path in bucket.rglob("*") if path.is_file() and "P2" in path.parts]:
        path.unlink()
    gone = warehouse.refresh(str(bucket), str(lake), patients=["P2"], allow_removals=True)
    assert gone.objects.removed == 4
    assert "P2" not in records(lake)


@pytest.mark.parametrize("given_", [{"prefix": "/training"}, {"prefix": "s3://b/training"}, {"prefix": "a\nb"}])
def test_no_prefix_that_no_key_can_have(given_: dict[str, str], bucket: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Prefix 1 is not valid"):
        warehouse.refresh(str(bucket), str(tmp_path / "lake"), **given_)
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize("patient", ["", " ", "a/b", "data", "ct-metadata"])
def test_no_patient_that_no_key_can_have(patient: str, bucket: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Patient 2 of the list is not valid"):
        warehouse.refresh(str(bucket), str(tmp_path / "lake"), patients=["P1", patient])
    assert not (tmp_path / "lake").exists()


@pytest.mark.slow
def test_the_command_takes_patients_prefixes_and_full(bucket: Path, new_lake: Path, here: Chest) -> None:
    shared = ["refresh", bucket, "--lake", new_lake, "--format", "json", "-q"]
    part = here(*shared, "--patient", "P1", "--patient", "P2")
    assert json.loads(part.stdout)["objects"]["listed"] == 6
    full = here(*shared, "--prefix", "training/P1/", "--prefix", "training/P2/", "--full")
    assert json.loads(full.stdout)["objects"]["changed"] == 2
    wrong = here(*shared, "--patient", "P1/")
    assert wrong.returncode == 2
    assert "Patient 1" in wrong.stderr


@given(st.lists(NAMES, max_size=6), NAMES)
def test_prefixes_cover_the_same_keys_once_however_they_are_given(prefixes: list[str], key: str) -> None:
    found = Scope({str(place): (prefix,) for place, prefix in enumerate(prefixes)}).prefixes
    starts = [prefix for prefix in found if key.startswith(prefix)]
    assert len(starts) == any(key.startswith(prefix) for prefix in prefixes)


@given(NAMES, st.sampled_from(["dated", "published"]), st.sampled_from(["dcm", "header", "clinical"]))
def test_the_prefixes_of_a_patient_hold_the_keys_of_the_grammar(patient: str, layout: str, kind: str) -> None:
    key = keys.ObjectKey(
        kind=kind,  # type: ignore[arg-type]
        layout=layout,  # type: ignore[arg-type]
        group_name="training",
        patient_id=patient,
        key_date="2020-04-01",
        folder="x-ray",
        study_id="1",
        series_id="2",
        image_id="3",
        record="data",
    )
    text = keys.format_key(key)
    assert any(text.startswith(prefix) for prefix in keys.list_prefixes(patient, "training"))
