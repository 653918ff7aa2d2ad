"""What docs/operations.md and deploy promise: settings, commands, errors, rights, units, images."""

import dataclasses
import importlib
import json
import os
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from servers import serve_moto

from pipelines.settings import PipelineSettings
from warehouse import change_detection
from warehouse.cli.commands import build_command
from warehouse.errors import WarehouseError
from warehouse.settings import AGREEMENT_VARIABLE, SHARE_VARIABLE, SUPPRESS_VARIABLE, Settings, load_share

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
PAGE = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
#: Every file that the page has its reader write: name and text.
FILES = dict(re.findall(r"^```json (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
SHELL: list[str] = re.findall(r"^```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
UNITS = sorted(DEPLOY.glob("*.service"))
ACCOUNT, REGION = "123456789012", "eu-west-2"  # moto's account


def test_the_table_has_every_setting_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(CHEST_\w+)` \|([^|]*)\|", PAGE, re.MULTILINE))
    expected = {
        f"CHEST_{field.name.upper()}": getattr(defaults, field.name)
        for defaults in (Settings(), PipelineSettings())
        for field in dataclasses.fields(defaults)
    }
    expected[SHARE_VARIABLE] = load_share({})  # it is the process's, as a umask is, and no field
    expected["CHEST_SQL_MEMORY_MB"] = "half of the machine's"  # a number of the machine, not of the tool
    expected[AGREEMENT_VARIABLE] = ""  # of the commands that take --agreement
    expected[SUPPRESS_VARIABLE] = ""  # of the commands that take --suppress, each with a default of its own
    assert set(rows) == set(expected)
    for name, default in expected.items():
        shown = rows[name].strip(" `")
        assert shown == (default if isinstance(default, str) else f"{default:g}"), name


def test_every_error_that_a_user_can_meet_has_its_line() -> None:
    for package in ("warehouse", "pipelines"):
        for found in pkgutil.walk_packages([str(ROOT / package)], f"{package}."):
            # torch_datasets needs torch, which is optional.
            if not found.name.endswith(("__main__", "pipelines.definitions", "torch_datasets")):
                importlib.import_module(found.name)

    def below(kind: type[WarehouseError]) -> set[type[WarehouseError]]:
        return {kind}.union(*(below(one) for one in kind.__subclasses__()))

    named = {kind.__name__ for kind in below(WarehouseError)} - {"WarehouseError", "DefinitionError"}
    table = set(re.findall(r"\| `(\w+Error)` \|", PAGE))
    assert named == table


def test_links_and_files_that_the_page_names_are_there() -> None:
    headings = {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in re.findall("^#+ (.*)$", PAGE, re.M)}
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        file = ROOT / "docs" / target.partition("#")[0]
        assert target.lstrip("#") in headings if target.startswith("#") else file.exists(), target
    for name in re.findall(r"(?:/opt/chest/)?(deploy/[\w.-]+)", PAGE):
        assert (ROOT / name).exists() or list(ROOT.glob(f"{name}*")), name
    for name in re.findall(r"file://(\S+\.json)", PAGE):
        assert name in FILES


def chest_lines() -> list[str]:
    lines = "\n".join(SHELL).replace("\\\n", " ").splitlines()
    given = [match[1] for line in lines if (match := re.search(r"(?:^|chest |\$ )(chest \w+.*)", line))]
    return given + re.findall(r"`(chest (?!dagster)[a-z]+[^`…]*)`", PAGE)


@pytest.mark.parametrize("line", sorted(set(chest_lines())))
def test_commands_on_the_page_exist_with_their_options(line: str) -> None:
    command: Any = build_command()
    words = shlex.split(line)[1:]
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands, line
        command = command.commands[words.pop(0)]
    options = {name for parameter in command.params for name in parameter.opts}
    assert {word.partition("=")[0] for word in words if word.startswith("-")} <= options


def test_the_page_has_commands() -> None:
    assert len(set(chest_lines())) > 8


def statements(name: str) -> list[dict[str, Any]]:
    policy = json.loads(FILES[name])
    assert policy["Version"] == "2012-10-17"
    found: list[dict[str, Any]] = policy["Statement"]
    return found


def test_policies_grant_no_more_than_described() -> None:
    writing = re.compile("Put|Delete|Create|Abort|\\*")
    for name in ("refresh-policy.json", "lake-reader-policy.json"):
        for statement in statements(name):
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            assert not [a for a in actions if writing.search(a) and a != "sqs:DeleteMessage"]
            assert statement["Resource"].startswith("arn:aws:")
            assert statement["Resource"] != "*"
            assert ("/*" in statement["Resource"]) == ("s3:GetObject" in actions)


def test_the_queue_of_the_page_reports_new_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    """The files as they stand, with the account of the test server; then an object is written."""
    ours = {name: text.replace("111122223333", ACCOUNT) for name, text in FILES.items()}
    with serve_moto() as server:
        for name, value in {**server.environment, "AWS_REGION": REGION}.items():
            monkeypatch.setenv(name, value)
        s3, sqs = (boto3.client(kind, endpoint_url=server.endpoint, region_name=REGION) for kind in ("s3", "sqs"))
        for bucket in ("chest-data-warehouse", "chest-inventory"):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        attributes = json.loads(ours["queue-attributes.json"])
        allowed = json.loads(attributes["Policy"])["Statement"][0]
        queue = sqs.create_queue(QueueName="chest-objects", Attributes=attributes)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        assert allowed["Resource"] == arn
        s3.put_bucket_notification_configuration(
            Bucket="chest-data-warehouse", NotificationConfiguration=json.loads(ours["notification.json"])
        )
        inventory = json.loads(ours["inventory.json"])
        s3.put_bucket_inventory_configuration(
            Bucket="chest-data-warehouse", Id=inventory["Id"], InventoryConfiguration=inventory
        )
        s3.put_object(Bucket="chest-data-warehouse", Key="training/A/data/2020-03-01/data.json", Body=b"{}")
        with change_detection.receive_events(queue, "s3://chest-data-warehouse", Settings()) as found:
            assert found.new
        with change_detection.receive_events(queue, "s3://chest-data-warehouse", Settings()) as found:
            assert not found.new


def assigned(unit: Path) -> dict[str, list[str]]:
    """The settings of a unit, by name."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def with_programs_of_here(unit: Path, folder: Path) -> Path:
    """A copy whose programs exist: those of the virtual environment that runs the tests."""
    text = unit.read_text(encoding="utf-8").replace("/opt/chest/.venv/bin/", f"{Path(sys.executable).parent}/")
    copy = folder / unit.name
    copy.write_text(text, encoding="utf-8")
    return copy


def test_the_units_are_sound_and_hardened(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("there is no systemd-analyze: apt-get install systemd")
    timer = DEPLOY / "chest-backup.timer"
    copies = [with_programs_of_here(unit, tmp_path) for unit in (*UNITS, timer)]
    assert len(copies) == 4
    done = subprocess.run([analyze, "verify", "--man=no", *copies], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    for copy in copies[:-1]:
        command = [analyze, "security", "--offline=yes", "--threshold=30", copy]
        rated = subprocess.run(command, capture_output=True, text=True, check=False)
        assert rated.returncode == 0, rated.stdout


@pytest.mark.slow(after=1)
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_the_command_of_a_unit_is_one_with_these_options(unit: Path) -> None:
    settings = assigned(unit)
    program, *words = shlex.split(settings["ExecStart"][0])
    found = Path(sys.executable).parent / Path(program).name
    assert found.exists()
    subcommand = [word for word in words[:1] if not word.startswith("-")]
    text = subprocess.run(
        [found, *subcommand, "--help"], capture_output=True, text=True, check=True, env=plain()
    ).stdout
    assert [word for word in words if word.startswith("--") and word not in text] == []
    assert settings["EnvironmentFile"] == ["/etc/chest/chest.env"]
    assert settings["User"] == ["chest"]
    assert settings["ProtectSystem"] == ["strict"]
    assert settings["WorkingDirectory"][0] in settings["ReadWritePaths"][0].split()


def plain() -> dict[str, str]:
    return {**os.environ, "COLUMNS": "200"}


def test_the_environment_file_is_read_alike_by_the_shell_and_has_known_names(tmp_path: Path) -> None:
    text = (DEPLOY / "chest.env").read_text(encoding="utf-8")
    known = set(re.findall(r"`((?:CHEST|AWS|DAGSTER_POSTGRES)_\w+)`", PAGE))
    known |= {f"DAGSTER_POSTGRES_{name}" for name in ("PORT", "USER", "PASSWORD", "DB")}
    names = re.findall(r"^#?([A-Z_]+)=", text, re.MULTILINE)
    assert set(names) <= known
    # The wrapper, with its paths put below a folder of the test's own.
    script = (DEPLOY / "chest").read_text(encoding="utf-8")
    for path in ("/etc/chest", "/var/lib/chest"):
        script = script.replace(path, f"{tmp_path}{path}")
        (tmp_path / path.lstrip("/")).mkdir(parents=True)
    bare = tmp_path / "env"
    bare.write_text("#!/bin/sh\nenv\n")
    bare.chmod(0o755)
    (tmp_path / "etc/chest/chest.env").write_text(text)
    script = script.replace("/opt/chest/.venv/bin/chest", str(bare))
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]}
    )
    values = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert values["CHEST_REFRESH_SCHEDULE"] == PipelineSettings().refresh_schedule
    assert values["CHEST_MAINTENANCE_SCHEDULE"] == PipelineSettings().maintenance_schedule
    assert values["CHEST_LAKE"] == "/var/lib/chest/lake"


def test_the_container_file_copies_what_is_there_and_starts_what_exists() -> None:
    lines = (DEPLOY / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    assert {word for word, _ in steps} <= {
        *("FROM", "WORKDIR", "ENV", "RUN", "COPY", "VOLUME", "USER", "EXPOSE", "HEALTHCHECK", "CMD")
    }
    copied = [part for word, rest in steps if word == "COPY" and "--from" not in rest for part in rest.split()[:-1]]
    assert {"requirements.txt", "warehouse", "sql", "pipelines", "dagster.yaml"} <= set(copied)
    for name in copied:
        assert (ROOT / name).exists(), name
    needed = {"README.md", "LICENSE", "CHANGELOG.md"}  # what the build of the package asks for
    assert needed <= set(copied)
    commands = [json.loads(rest) for word, rest in steps if word == "CMD"]
    checked = [json.loads(rest.partition("CMD ")[2]) for word, rest in steps if word == "HEALTHCHECK"]
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    daemon = compose["services"]["daemon"]
    for command in (*commands, *checked, daemon["command"], daemon["healthcheck"]["test"][1:]):
        assert (Path(sys.executable).parent / command[0]).exists(), command
    assert [rest for word, rest in steps if word == "USER"] == ["chest"]
    assert "--require-hashes" in "".join(rest for word, rest in steps if word == "RUN")
    assert Path(DEPLOY, compose["services"]["webserver"]["build"]["context"]).resolve() == ROOT
