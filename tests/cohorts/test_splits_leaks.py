"""The same patient, image or bytes on two sides of a split are found wherever a split is made, kept or read."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Chest, start_lake
from example_lakes import build_lake
from servers import S3

import warehouse
from warehouse.cohorts import leaks
from warehouse.cohorts.split import Split
from warehouse.errors import SplitLeakError
from warehouse.manifests.export import write_files
from warehouse.manifests.rows import collect_rows
from warehouse.manifests.verify import verify

#: An own split, by a parameter: what is odd is on the other side.
OWN = """\
-- title: Films on sides of their own
-- question: Which film is on which side?
-- grain: {grain}
-- param sides VARCHAR[] = []: the rows of the side test
-- label split: train or test
select {id}, {patient} case when {id} = any($sides) then 'test' else 'train' end as split
from {view}
"""
FILMS = """
patient | image | study | day        | sop
a       | a1    | A     | 2020-03-01 | 1.1
a       | a2    | A2    | 2020-03-01 | 1.2
b       | b1    | B     | 2020-03-01 | 2.1
c       | c1    | C     | 2020-03-01 | 9.9
d       | d1    | D     | 2020-03-01 | 9.9
"""
KEY = "{group}/{patient}/{folder}/2020-03-01/{image}.{ending}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("leaks")
    for grain, column, view in (("study", "StudyInstanceUID", "studies"), ("image", "SOPInstanceUID", "images")):
        for patient in ("", "patient_id,"):
            text = OWN.format(grain=grain, id=column, patient=patient, view=view)
            (root / f"{grain}{'s' if patient else ''}.sql").write_text(text)
    return root


@pytest.fixture(scope="module")
def wh(folder: Path) -> Iterator[warehouse.Warehouse]:
    with build_lake(folder, FILMS) as opened:
        yield opened


@pytest.fixture
def ask(here: Chest, folder: Path, wh: warehouse.Warehouse) -> Chest:
    """The command at the lake of this module."""
    return lambda *words: here(*words, "--lake", folder / "lake")


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("file", ["study.sql", "studys.sql"])
def test_a_patient_or_an_image_on_two_sides(wh: warehouse.Warehouse, folder: Path, file: str) -> None:
    assert leaks.find_leaks(wh.cohort(folder / file)) == []
    assert leaks.find_leaks(wh.cohort(folder / file, sides=["B"])) == []
    assert leaks.find_leaks(wh.cohort(folder / file, sides=["A2", "D"])) == [
        leaks.Leak("image", "9.9", "test", "train"),
        leaks.Leak("patient", "a", "test", "train"),
    ]


@pytest.mark.slow
def test_export_refuses_a_leak(ask: Chest, wh: warehouse.Warehouse, folder: Path, tmp_path: Path) -> None:
    given = ("--param", "sides=A2", "--param", "sides=D", "-o", tmp_path / "made")
    done = ask("manifest", "export", folder / "study.sql", *given)
    assert (done.returncode, done.stdout) == (1, "")
    assert "SOPInstanceUID 9.9 on test and train; patient a on test and train. Leave out" in done.stderr
    assert not (tmp_path / "made").exists()
    with pytest.raises(SplitLeakError, match="The split of study leaks: patient a on test and train"):
        wh.cohort(folder / "study.sql", sides=["A2"]).export(tmp_path / "made")
    sound = wh.cohort(folder / "study.sql", sides=["B"]).export(tmp_path / "made")
    assert [*sound.sides] == ["train", "test"]
    assert "split" not in sound.about


def test_lint_refuses_a_leak(ask: Chest, folder: Path) -> None:
    file = folder / "study.sql"
    for more, message in (
        ((), "leaks: a patient on two sides (--suppress 0 names them)"),
        (("--suppress", 0), "a on test"),
    ):
        done = ask("cohort", "lint", file, "--param", "sides=A2", "--format", "json", *more)
        assert done.returncode == 1
        (problem,) = [row for row in json.loads(done.stdout) if row["severity"] == "error"]
        assert message in problem["message"]
        assert ("patient a" in problem["message"]) == bool(more)
    assert problem["line"] > 1
    assert ask("cohort", "lint", file, "--param", "sides=B").returncode == 0


@pytest.mark.slow
def test_verify_reports_a_leak(ask: Chest, wh: warehouse.Warehouse, folder: Path, tmp_path: Path) -> None:
    """Of a manifest as an older version exported it, which did not look."""
    (tmp_path / "made").mkdir()
    with contextlib.closing(collect_rows(wh.cohort(folder / "study.sql", sides=["A2"]), ("json",), tmp_path)) as rows:
        write_files(wh.cohort(folder / "study.sql", sides=["A2"]), rows, ("json",), tmp_path / "made")
    made = warehouse.manifest(tmp_path / "made")
    found = verify(made, lake_address=str(folder / "lake"))
    assert (found.holds, found.leaks) == (False, (leaks.Leak("patient", "a", "test", "train"),))
    done = ask("manifest", "verify", made.folder)
    assert done.returncode == 1
    assert "Its split leaks: patient a on test and train." in done.stderr
    listed = json.loads(ask("manifest", "verify", made.folder, "--format", "json").stdout)["leaks"]
    assert listed == [{"what": "patient", "name": "a", "one": "test", "other": "train"}]


def _find_seed(one: str, other: str) -> int:
    """A seed that puts two patients on two sides."""
    rules = (Split(50, 0, 50, seed=seed) for seed in range(100))
    return next(rule.seed for rule in rules if rule.choose_side(one) != rule.choose_side(other))


@pytest.mark.slow
def test_our_own_split_refuses_one_image_of_two_patients(ask: Chest, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "all.sql").write_text(
        (folder / "study.sql").read_text().replace(" as split", " as side").replace("-- label split", "-- label side")
    )
    words = ("cohort", "split", tmp_path / "all.sql", "--train", 1, "--test", 1, "--seed", _find_seed("c", "d"))
    done = ask(*words, "-o", tmp_path / "sides.csv")
    assert (done.returncode, done.stdout) == (1, "")
    assert "a SOPInstanceUID on two sides (--suppress 0 names them)" in done.stderr
    assert "9.9 on test and train" in ask(*words, "--suppress", 0).stderr
    assert not (tmp_path / "sides.csv").exists()


# Equal bytes


def _upload(s3: S3, bucket: str) -> None:
    """e and f share bytes under other names; g has a file of its own; h of the validation group shares it with g."""
    objects: dict[str, bytes] = {}
    for group, patient, content in (
        ("training", "e", b"one"),
        ("training", "f", b"one"),
        ("training", "g", b"two"),
        ("validation", "h", b"two"),
        ("training", "i", b"three"),
    ):
        tags = {"00080018": f"7.{patient}", "0020000D": f"8.{patient}", "00080060": "CR"}
        header = json.dumps({tag: {"Value": [value]} for tag, value in tags.items()})
        place = {"group": group, "patient": patient, "image": patient}
        objects[KEY.format(**place, folder="images_metadata", ending="json")] = header.encode()
        objects[KEY.format(**place, folder="images", ending="dcm")] = content
    objects["training/i/images/2020-03-01/again.dcm"] = b"three"  # twice of one patient
    s3.put(bucket, objects)


@pytest.mark.slow
def test_equal_bytes_on_two_sides(s3: S3, folder: Path, here: Chest, tmp_path: Path) -> None:
    _upload(s3, "bytes")
    warehouse.refresh("s3://bytes", str(start_lake(tmp_path / "lake")))
    keys = [KEY.format(group="training", patient=p, folder="images", image=p, ending="dcm") for p in "efgh"]
    with warehouse.open(str(tmp_path / "lake"), trusted=False) as wh:
        with pytest.raises(SplitLeakError, match=f"equal bytes {keys[1]} = {keys[0]} on test and train"):
            wh.cohort(folder / "images.sql", sides=["7.f"]).export(tmp_path / "made")
        assert [leak.what for leak in leaks.find_leaks(wh.cohort(folder / "images.sql", sides=["7.f"]))] == ["bytes"]
        assert leaks.find_leaks(wh.cohort(folder / "images.sql", sides=["7.f", "7.e"])) == []
    with warehouse.open(str(tmp_path / "lake")) as wh:
        (result,) = wh.check("same_bytes")
        assert [tuple(row.values())[:5] for row in result.rows.to_pylist()] == [
            (["e", "f"], keys[0], ["training"], 2, 2),
            (["g"], keys[2], ["training", "validation"], 2, 2),
        ]
        (result,) = wh.group("validation").check("same_bytes")
        assert result.rows.column("patients").to_pylist() == [["h"]]
        (result,) = wh.as_of("2020-02-29").check("same_bytes")
        assert (result.n_rows, result.failed) == (0, False)
    done = here("check", "same_bytes", "--lake", tmp_path / "lake")
    assert done.returncode == 1
    assert keys[0] in done.stdout
