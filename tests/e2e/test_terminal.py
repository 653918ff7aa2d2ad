"""Nothing that comes from outside steers a terminal: every command at a real one, with escapes in all that it shows."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import NAMES, build_words
from conftest import Chest, start_lake, write_objects
from hypothesis import given
from hypothesis import strategies as st
from terminals import run_at_terminal, run_here_at_terminal

import warehouse
from pipelines import metadata, retries
from warehouse import aws
from warehouse.manifests.export import export_manifest
from warehouse.text import escape_controls, escape_json

#: What may not arrive: set a title, erase, move up, C1's CSI, DEL, bidi override, zero width, separators.
HOSTILE = "E\x1b]0;owned\x07\x1b[2J\x1b[1A\x9b31m\x7f\u202etxt\u2066\u200b\ufeff\u2028X"
#: The same with a line that is to pass for one of ours.
FORGING = f"{HOSTILE}\nFORGED: 54 present"
FORGED = re.compile("^FORGED", re.MULTILINE)
#: A control character, or one that reorders or hides; line ends and our own styles are taken out before.
UNSEEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
#: What rich writes: colours, and what a progress bar needs to draw itself again.
OURS = re.compile(r"\x1b\[(?:[0-9;]*m|\?25[lh]|[0-9]*[AK]|[0-9]*[GD])")

#: A cohort's own text has none of these: its file would be refused. What it answers has.
COHORT = """\
-- title: Films
-- question: Which?
-- definition: All.
-- grain: image
-- label centre: Where.
with films as ( -- all of them
    from images
)
select SOPInstanceUID, Manufacturer as centre from films
"""


def plain(seen: bytes) -> str:
    """What arrived, without line ends and styles of ours."""
    return OURS.sub("", seen.decode().replace("\r\n", "\n").replace("\r", ""))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """A bucket, lake, cohort and manifest whose every text is hostile."""
    root = tmp_path_factory.mktemp("hostile")
    patient = FORGING.replace("/", "")
    header = {
        "00080018": {"vr": "UI", "Value": ["1.2.3"]},
        "0020000D": {"vr": "UI", "Value": ["1.2"]},
        "0020000E": {"vr": "UI", "Value": ["1.2.1"]},
        "00080060": {"vr": "CS", "Value": ["CR"]},
        "00081030": {"vr": "LO", "Value": [FORGING]},
        "00100020": {"vr": "LO", "Value": [FORGING]},
        "00080070": {"vr": "LO", "Value": [FORGING]},
    }
    record = {"Pseudonym": FORGING, "SubmittingCentre": FORGING, "Age": FORGING, FORGING: FORGING}
    bucket = root / "bucket"  # a manifest has no source with control characters
    write_objects(
        bucket,
        {
            f"training/{patient}/images_metadata/2020-03-01/1.json": json.dumps(header),
            f"training/{patient}/images/2020-03-01/1.dcm": b"x",
            f"training/{patient}/data/2020-03-01/data.json": json.dumps(record),
            f"training/{patient}/data/2020-03-02/status.json": f"<{FORGING}>",
        },
    )
    lake = start_lake(root / f"lake{HOSTILE}")
    warehouse.refresh(str(bucket), str(lake))
    cohort = root / "films.sql"
    cohort.write_text(COHORT, encoding="utf-8")
    with warehouse.open(str(lake)) as wh:
        export_manifest(wh.cohort(cohort), root / f"manifest{patient}")
    return {
        "source": bucket,
        "lake": lake,
        "patient_id": patient,
        "folder": root / f"manifest{patient}",
        "old": root / f"manifest{patient}",
        "new": root / f"manifest{patient}",
        "query": f"select *, '{FORGING}' as \"{FORGING}\" from patients",
        "name": cohort,
        "check.name": "new_field",
        "describe.table": FORGING,
        "target": f"postgres://{FORGING}@127.0.0.1:9/{FORGING}?data_path=/x",
    }


@pytest.mark.slow(cases=("maintain", "manifest repeat", "manifest reproduce", "manifest verify", "report", "upkeep"))
@pytest.mark.parametrize("name", NAMES)
def test_no_command_lets_a_control_character_through(name: str, hostile: dict[str, object], tmp_path: Path) -> None:
    out = tmp_path / f"out{HOSTILE.replace('/', '')}"
    file = out.with_suffix(".html") if name == "report" else out
    values = {**hostile, "output": file, "out": out, "backup.folder": out}
    options = {"lake": hostile["lake"], "label": "centre", "from_": "2020-05-01", "suppress": 0}
    code, seen = run_here_at_terminal(
        *build_words(name, values, **options), columns=200, cwd=tmp_path, CHEST_SUPPRESS="0"
    )
    assert code in (0, 1, 2), plain(seen)
    assert "Traceback" not in plain(seen)
    assert not UNSEEN.search(plain(seen)), repr(plain(seen))
    assert not FORGED.search(plain(seen)), plain(seen)


@pytest.mark.parametrize("name", NAMES)
def test_no_error_lets_a_control_character_through(name: str, tmp_path: Path) -> None:
    for more in (
        build_words(
            name, {}, lake=f"{tmp_path}/{HOSTILE}", label=HOSTILE, from_=HOSTILE, as_of=HOSTILE, source=HOSTILE
        ),
        [*name.split(), f"--{HOSTILE}"],
    )[: 2 if name in ("status", "manifest verify") else 1]:
        values = [word.replace("nothing", f"no{HOSTILE}") for word in more]
        code, seen = run_here_at_terminal(*values, columns=200, cwd=tmp_path)
        assert code in (0, 1, 2)
        assert not UNSEEN.search(plain(seen)), repr(plain(seen))


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("form", ["csv", "json", "table"])
def test_a_terminal_sees_answers_escaped_and_a_pipe_gets_them_to_the_byte(
    form: str, hostile: dict[str, object], chest: Chest
) -> None:
    query = ("sql", f"select '{HOSTILE}' as a", "--lake", hostile["lake"], "--format", form)
    code, seen = run_at_terminal(*query, columns=200)
    assert code == 0
    assert not UNSEEN.search(plain(seen))
    assert "\\u202e" in plain(seen)
    piped = chest(*query)
    if form == "csv":
        assert piped.stdout == f"a\n{HOSTILE}\n"
    elif form == "json":
        assert json.loads(piped.stdout) == [{"a": HOSTILE}]
        assert json.loads(plain(seen)) == [{"a": HOSTILE}]
    else:
        assert not UNSEEN.search(piped.stdout)


@pytest.mark.slow
def test_progress_at_a_terminal_shows_nothing_of_keys(hostile: dict[str, object], tmp_path: Path) -> None:
    source = tmp_path / HOSTILE.replace("/", "")
    shutil.copytree(str(hostile["source"]), source)
    code, seen = run_at_terminal("refresh", source, "--lake", tmp_path / "lake", columns=120)
    assert code == 0, seen
    assert not UNSEEN.search(plain(seen)), repr(plain(seen))
    assert "E\\x1b]0;owned" in plain(seen)


@given(st.text(st.characters(), max_size=40))
def test_no_unseen_character_is_left_and_the_rest_stays(text: str) -> None:
    shown = escape_controls(text)
    assert not UNSEEN.search(shown.replace("\n", ""))
    shown.encode()  # nor a lone surrogate, which has no bytes
    assert escape_controls(shown) == shown
    assert "\n" not in escape_controls(text, keep_lines=False)
    seen = "".join(c for c in text if c.isprintable())
    if seen == text and not UNSEEN.search(text) and escape_controls("\u3164") not in shown:
        assert all(word in shown for word in re.findall("[A-Za-z0-9 ]+", text))
    assert json.loads(escape_json(json.dumps(text, ensure_ascii=False))) == text
    assert not UNSEEN.search(escape_json(json.dumps(text, ensure_ascii=False)))


@given(st.text(st.characters(blacklist_categories=["Cs"]), max_size=40))
def test_a_cell_in_dagster_is_text_whatever_it_holds(text: str) -> None:
    table = metadata.render_table(("a",), [(text,)]).value
    assert isinstance(table, str)
    assert len(table.splitlines()) == 3
    cell = table.splitlines()[2].removeprefix("| ").removesuffix(" |")
    assert not re.search(r"(?<!\\)(?:\\\\)*[<>|`\[\]*!&]", cell)
    assert not UNSEEN.search(table.replace("\n", ""))
    assert not UNSEEN.search(retries.to_one_line(text))
    block = metadata.render_code(f"select '{text}'\n```\n<script>").value
    assert isinstance(block, str)
    fence = block.split("sql\n")[0]
    assert block.count(f"\n{fence}") == 1 or "`" in text


@pytest.mark.parametrize("part", ["a", "a1_", "training", "x.json", "timeout", "."])
def test_a_long_untrusted_word_is_read_once(part: str) -> None:
    """A server's answer or a key may be in an error: to make a line of it takes no hours."""
    text = part * (200_000 // len(part))
    start = time.process_time()
    assert retries.to_one_line(f"x {text}! y").endswith("y")
    assert aws.to_connection_error("bucket", OSError(text))
    assert time.process_time() - start < 3


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("gone: training/Covid1/data.json, b/c.dcm; d", "gone: … …; d"),
        ("(x/training/Covid1.xml) a.jsonx .json", "(x/… a.jsonx .json"),
    ],
)
def test_a_line_of_a_log_has_no_key(text: str, shown: str) -> None:
    assert retries.to_one_line(text) == shown


@pytest.mark.slow
def test_head_ends_a_pipe_quietly(hostile: dict[str, object]) -> None:
    program = f"{sys.executable} -c 'from warehouse.cli import main; main()'"
    for words_ in (
        "sql 'select * from range(300000)'",
        "sql 'select * from range(300000)' --format csv",
        "describe images",
    ):
        command = f'set -o pipefail; {program} {words_} --lake "$LAKE" | head -n 1'
        command = command.replace(' --lake "$LAKE"', "") if words_.startswith("describe") else command
        done = subprocess.run(
            ["bash", "-c", command],
            env={**os.environ, "LAKE": str(hostile["lake"])},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == "", words_
        assert done.returncode == 0, words_
        assert len(done.stdout.splitlines()) == 1


@pytest.fixture(scope="module")
def odd_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with faults that checks find, under keys longer than a terminal is wide."""
    root = tmp_path_factory.mktemp("odd")
    uids = {"00080018": f"2.25.{'1' * 39}", "0020000D": f"2.25.{'2' * 39}", "0020000E": f"2.25.{'3' * 39}"}
    header = {tag: {"vr": "UI", "Value": [uid]} for tag, uid in uids.items()}
    header |= {"00101010": {"vr": "AS", "Value": ["53Y"]}, "00080060": {"vr": "CS", "Value": ["DX"]}}
    write_objects(
        root / "bucket", {f"training/P1/images_metadata/2020-03-01/{uids['00080018']}.json": json.dumps(header)}
    )
    warehouse.refresh(str(root / "bucket"), str(start_lake(root / "lake")))
    return root / "lake"


@pytest.mark.slow(after=1)
@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("describe images", ["Bucket the object came", "that holds the pixels|image object|image itself"]),
        ("describe patients", ["Pseudonym of the"]),
        ("check", ["name", "severity", "rows", "metadata_without_dcm", "Metadata without a .dcm"]),
        ("check values_not_in_form", ["attribute", "n_images", "n_patients", "PatientAge"]),
        ("check metadata_without_dcm", ["patient_id", "available_date", "Modality", "StudyDate", "P1"]),
        ("cohort attrition covid_risk", ["step", "patients", "patients_lost", "images", "near_swab", "answer"]),
        ("cohort why covid_risk P1", ["condition", "is", "values", "StudyDate", "P1 is excluded by step films"]),
        ("cohort excluded covid_risk", ["patient_id", "step", "after", "meaning", "P1", "films"]),
        (
            "cohort compare covid_risk --from 2020-02-01 --to 2020-04-01 --suppress 0",
            ["0 rows before, 0 after"],
        ),
    ],
)
def test_the_columns_that_matter_are_there_at_eighty(odd_lake: Path, command: str, words: list[str]) -> None:
    lake = ["--lake", str(odd_lake)] if not command.startswith("describe") else []
    _, seen = run_here_at_terminal(*command.split(), *lake)
    lines = plain(seen).splitlines()
    assert max(len(line) for line in lines if not line.startswith(("No room for ", "P1 is "))) <= 80  # notes wrap
    shown = " ".join(" ".join(lines).split())
    for word in words:
        assert re.search(word, shown), (word, plain(seen))


def test_meanings_are_whole_at_eighty() -> None:
    """What stands in the last column, its lines joined, is what the JSON has: nothing is cut."""
    for table in ("images", "patients", "image_regions"):
        rows = json.loads(plain(run_here_at_terminal("describe", table, "--format", "json")[1]))
        _, seen = run_here_at_terminal("describe", table)
        head, *lines = plain(seen).splitlines()
        start = head.index("meaning")
        texts = "".join(line[start:].replace(" ", "") for line in lines)
        assert texts == "".join(row["meaning"].replace(" ", "") for row in rows), table
