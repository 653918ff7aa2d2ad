"""Parquet files state where they are from, and have their SHA-256 beside them, in the format of `sha256sum -c`."""

import os
import stat
import subprocess
import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import Chest, start_lake

import warehouse
from warehouse.cohorts.digest import compute_digest
from warehouse.synthetic import make_bucket


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("origin")
    make_bucket(root / "bucket", 12, seed=1)
    warehouse.refresh(str(root / "bucket"), str(start_lake(root / "lake")))
    return root / "lake"


def read_origin(path: Path) -> dict[str, str]:
    found = pq.read_metadata(path).metadata
    return {name.decode(): value.decode() for name, value in found.items() if name.startswith(b"chest.")}


def check_sums(folder: Path, name: str) -> bool:
    done = subprocess.run(["sha256sum", "-c", "--strict", "--quiet", name], cwd=folder, check=False)
    return done.returncode == 0


@pytest.mark.slow
def test_answers_carry_their_origin_and_a_checksum(lake: Path, tmp_path: Path, here: Chest) -> None:
    with warehouse.open(str(lake)) as wh:
        snapshot, digest = wh.snapshot, compute_digest(wh.as_of("2021-06-01").cohort("covid_risk"))
    expected = {
        "chest.snapshot": str(snapshot.number),
        "chest.group": "training",
        "chest.as_of": "2021-06-01",
        "chest.version": warehouse.__version__,
    }
    given = ("--lake", lake, "--as-of", "2021-06-01", "-o")
    for name, words in {
        "a query.parquet": ("sql", "select * from patients"),
        "cohort.parquet": ("cohort", "run", "covid_risk"),
        "steps.parquet": ("cohort", "attrition", "covid_risk"),
        "rejects.parquet": ("rejects",),
        "odd\\name.parquet": ("sql", "select 1 as one"),
    }.items():
        for _ in range(2):  # the second time both are replaced
            assert here(*words, *given, tmp_path / name).returncode == 0
            found = read_origin(tmp_path / name)
            assert found.pop("chest.snapshot_time").endswith("Z")
            assert found == expected | ({"chest.digest": digest} if name == "cohort.parquet" else {})
            assert check_sums(tmp_path, f"{name}.sha256")
        assert stat.S_IMODE((tmp_path / f"{name}.sha256").stat().st_mode) == 0o640
    (tmp_path / "cohort.parquet").write_bytes(b"other")
    assert not check_sums(tmp_path, "cohort.parquet.sha256")


@pytest.mark.slow
def test_a_manifest_carries_its_digest_and_is_reproduced(lake: Path, tmp_path: Path, here: Chest) -> None:
    folder = tmp_path / "manifest"
    assert here("manifest", "export", "covid_risk", "--lake", lake, "-o", folder).returncode == 0
    made = warehouse.manifest(folder)
    for name in ("manifest.parquet", "records.parquet"):
        found = read_origin(folder / name)
        assert found["chest.digest"] == made.digest
        assert found["chest.snapshot_time"] == made.about["snapshot_time"]
        assert "chest.as_of" not in found
    assert not [*folder.glob("*.sha256")]
    assert check_sums(folder, "SHA256SUMS")
    assert here("manifest", "reproduce", folder, "--lake", lake).returncode == 0


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_an_export_has_the_hashes_of_all_its_files(lake: Path, tmp_path: Path, here: Chest, form: str) -> None:
    assert here("export", "--lake", lake, "--format", form, "-o", tmp_path / "all").returncode == 0
    files = {path.name for path in (tmp_path / "all").iterdir()}
    assert f"patients.{form}" in files
    assert not [name for name in files if name.endswith(".sha256")]
    listed = (tmp_path / "all/SHA256SUMS").read_text().splitlines()
    assert {line.split("  ")[1] for line in listed} == files - {"SHA256SUMS"}
    assert check_sums(tmp_path / "all", "SHA256SUMS")


@pytest.mark.slow
def test_streams_have_no_side_file(lake: Path, tmp_path: Path, chest: Chest) -> None:
    pipe = tmp_path / "pipe.parquet"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    query = ("sql", "select * from patients", "--lake", lake, "--format", "parquet", "-o")
    assert chest(*query, pipe).returncode == 0
    reader.join()
    assert got[0].startswith(b"PAR1")
    assert chest(*query, "/dev/null").returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pipe.parquet"]
    assert not Path("/dev/null.sha256").exists()


def test_a_pipe_at_the_name_of_the_hash_is_replaced(lake: Path, tmp_path: Path, here: Chest) -> None:
    os.mkfifo(tmp_path / "a.parquet.sha256")
    assert here("sql", "select * from patients", "--lake", lake, "-o", tmp_path / "a.parquet").returncode == 0
    assert check_sums(tmp_path, "a.parquet.sha256")
