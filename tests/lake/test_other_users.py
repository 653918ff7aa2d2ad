"""A lake of another user: whoever may not read or write it gets one line, exit code 2; whoever may read it, reads."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from conftest import write_objects

import warehouse

#: Each command once as root, so that all modules are imported (root's may be closed to others); then, with the lake
#: closed in each way, as nobody. A line of JSON each: what was closed, the command, exit code, stdout, stderr.
AS_NOBODY = """
import itertools, json, os, sys
from warehouse.cli import main
from warehouse.engine import spill
commands, ways, lake = json.loads(sys.argv[1])

numbers = itertools.count()

def run(words):
    sys.argv[1:] = [word.replace("NUMBER", str(next(numbers))) for word in words]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0

def seen(words):
    kept = [os.dup(1), os.dup(2)]
    files = [os.open("/tmp", os.O_TMPFILE | os.O_RDWR) for _ in kept]
    for number, file in enumerate(files, 1):
        os.dup2(file, number)
    code = run(words)
    sys.stdout.flush(), sys.stderr.flush()
    for number, before in enumerate(kept, 1):
        os.dup2(before, number)
    return [code, *(os.pread(file, 1_000_000, 0).decode() for file in files)]

for words in commands:
    seen(words)
os.setgroups([])
for way, modes in ways.items():
    for path, mode in modes:
        os.chmod(os.path.join(lake, path), mode)
    os.setresgid(65534, 65534, 0), os.setresuid(65534, 65534, 0)
    spill._find_root.cache_clear()  # the temporary folder of before is root's
    for words in commands:
        print(json.dumps([way, words[0], *seen(words)]), flush=True)
    os.setresuid(0, 0, 0), os.setresgid(0, 0, 0)
"""
WRITING = ("refresh", "maintain")
WAYS = {
    "the folder": [("", 0o700)],
    "the catalogue": [("", 0o755), ("catalog.sqlite", 0o600)],
    "the data": [("catalog.sqlite", 0o644), ("data", 0o700)],
    "nothing": [("data", 0o755)],
}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, to become nobody")
def test_a_lake_of_another_user_is_read_or_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHEST_SHARE", "all")
    with tempfile.TemporaryDirectory() as folder:  # those of pytest are its user's alone
        Path(folder).chmod(0o755)
        bucket, lake = f"{folder}/bucket", f"{folder}/lake"
        write_objects(Path(bucket), {"training/P1/data/2020-05-01/data.json": '{"Pseudonym": "P1"}'})
        warehouse.refresh(bucket, lake)
        reading = (["status"], ["sql", "from patients"], ["check"], ["patient", "P1"], ["source", "list"])
        Path(f"{folder}/out").mkdir()
        Path(f"{folder}/out").chmod(0o777)
        export = ["manifest", "export", "covid_risk", "-o", f"{folder}/out/NUMBER"]
        commands = [
            [*words, "--lake", lake] for words in (*reading, export, ["refresh", bucket, "-q"], ["maintain", "-q"])
        ]
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, json.dumps([commands, WAYS, lake])],
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(WAYS) * len(commands)
    for way, command, code, out, err in found:
        if way == "nothing" and command not in WRITING:
            assert (code, err.count("chest:")) == (0, 0), (command, err)
            assert ("not recorded in the lake, which you may only read" in err) is (command == "manifest")
            continue
        assert (code, out, err.count("\n")) == (2, "", 1), (way, command, out, err)
        assert err.startswith("chest: "), (way, command)
        assert "Permission denied" in err, (way, command)
        assert "backup" not in err, "a restored lake would be no more open"
