"""How to cite a snapshot and a manifest, as text, BibTeX and JSON."""

import itertools
import json
from pathlib import Path

import pytest
from conftest import Chest, start_lake

import warehouse
from warehouse.query.citation import cite_manifest
from warehouse.synthetic import make_bucket

OWNER = "Jacob J, et al. A database & its 100 % use_case. Eur Respir J 2020"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cited")
    make_bucket(folder / "bucket", 6, seed=2, stubs=True)
    warehouse.refresh(folder / "bucket", start_lake(folder / "lake"))
    return folder / "lake"


@pytest.mark.slow
def test_the_lake_is_cited_with_its_snapshot(lake: Path, here: Chest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHEST_CITATION", f"{OWNER}.\n")
    wh = warehouse.open(lake)
    out = here("cite", "--lake", lake, "--as-of", "2020-06-01")
    assert out.returncode == 0, out.stderr
    day = wh.snapshot.time.date()
    assert out.stdout == (
        f"{OWNER}. Snapshot {wh.snapshot.number} of {day}; group training; as of 2020-06-01; "
        f"obtained with Chest Data Warehouse {warehouse.__version__}.\n"
    )
    assert not out.stderr
    assert wh.as_of("2020-06-01").cite().text == out.stdout.strip()


def test_bibtex_escapes_what_tex_reads(lake: Path, here: Chest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHEST_CITATION", OWNER + r" {\input} ~^#$ } @misc{other,")
    lines = here("cite", "--lake", lake, "--format", "bibtex").stdout.splitlines()
    assert lines[0].startswith("@misc{chest-snapshot-")
    title = next(line for line in lines if "title" in line)
    assert r"\& its 100 \% use\_case" in title
    opening, closing = r"\textbraceleft{}", r"\textbraceright{}"
    assert rf"{opening}\textbackslash{{}}input{closing} \textasciitilde{{}}\textasciicircum{{}}\#\$" in title
    # BibTeX counts braces even after a backslash: a title that closes its own could add an entry.
    depths = list(itertools.accumulate({"{": 1, "}": -1}.get(sign, 0) for sign in "\n".join(lines)))
    assert depths.index(0, depths.index(1)) == len(depths) - 1
    assert lines[-1] == "}"


@pytest.mark.slow
def test_a_manifest_keeps_its_citation(
    lake: Path, here: Chest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CHEST_CITATION", OWNER)
    folder = tmp_path / "manifest"
    made = here("manifest", "export", "covid_risk", "-o", folder, "--lake", lake)
    assert made.returncode == 0, made.stderr
    about = json.loads((folder / "manifest.json").read_text())
    assert about["citation"] == OWNER
    monkeypatch.delenv("CHEST_CITATION")
    found = json.loads(here("cite", folder, "--format", "json").stdout)
    assert (found["data"], found["cohort"], found["digest"]) == (OWNER, "covid_risk", about["digest"])
    croissant = json.loads((folder / "croissant.json").read_text())
    assert croissant["citeAs"] == here("cite", folder, "--format", "bibtex").stdout.rstrip("\n")


def test_the_citation_of_an_untrusted_manifest_is_one_line() -> None:
    about = {
        "citation": "One\nTwo",
        "snapshot": 3,
        "snapshot_time": "2020-06-01T00:00:00.000000Z",
        "group": "training\u2028x",
        "as_of": None,
        "cohort": {"name": "a\u2029b"},
        "digest": "sha256:0",
        "tool": {"version": "1\nchest: all is well\x85"},
    }
    made = cite_manifest(about)
    assert made.text.splitlines() == [made.text]
    assert len(made.bibtex.splitlines()) == 5


def test_a_missing_citation_is_noted(lake: Path, here: Chest) -> None:
    out = here("cite", "--lake", lake)
    assert out.returncode == 0
    assert out.stdout.startswith("Snapshot ")
    assert "CHEST_CITATION" in out.stderr


def test_what_is_not_a_manifest_is_one_line(here: Chest, tmp_path: Path) -> None:
    out = here("cite", tmp_path)
    assert out.returncode == 2
    assert len(out.stderr.splitlines()) == 1
