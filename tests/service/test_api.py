"""The HTTP API: what it answers, in which form, of which scope, and its errors."""

import csv
import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from served import Served

import warehouse
from warehouse.cohorts.parsing import list_shipped
from warehouse.manifests.manifest import open_manifest
from warehouse.manifests.verify import verify

API = "/api/v1"
VALUES = (
    "select 'a\x01b\u202e\x7f' as controls, 'nan'::double as nan, '-inf'::double as infinite, "
    "interval 90 minutes as i, "
    "170141183460469231731687303715884105727::hugeint as huge, 18446744073709551615::ubigint as big, "
    "1.50::decimal(30, 2) as decimal, date '2020-02-29' as day, timestamp '290000-01-01' as far, "
    "date '-0044-03-15' as before_christ, '\\xAA'::blob as bytes, map {'k': [1, null]} as map, "
    "{'a': {'b': null}} as nested, null as nothing, true as yes, '101'::bit as bits, 'café 😀' as text"
)


def rows(served: Served, query: str, token: str = "", prefix: str = "") -> list[dict[str, Any]]:
    answer = served.post(f"{prefix}{API}/sql", {"sql": query}, token)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["rows"]
    return found


def problem(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert {"type", "title", "status", "detail"} <= body.keys()
    assert body["status"] == status
    return str(body["detail"])


def test_about_snapshots_and_tables(served: Served, tokens: dict[str, str]) -> None:
    about = served.get(f"{API}/about", tokens["counts"]).json()
    assert about["caller"] == about["rights"] == "counts"
    assert (about["as_of"], about["group"], about["suppress"]) == (None, "training", 5)
    snapshots = served.get(f"{API}/snapshots").json()["snapshots"]
    assert snapshots[-1]["number"] == about["snapshot"]
    assert snapshots[-1]["time"] == about["snapshot_time"]
    tables = {each["name"]: each["n_columns"] for each in served.get(f"{API}/tables").json()["tables"]}
    for name, n_columns in tables.items():
        described = served.get(f"{API}/tables/{name}").json()
        assert len(described["columns"]) == n_columns
        assert [column["name"] for column in described["columns"]] == [*rows_columns(served, name)]
    modality = {column["name"]: column for column in served.get(f"{API}/tables/images").json()["columns"]}["Modality"]
    assert modality["source"] == "00080060"
    assert "images" in problem(served.get(f"{API}/tables/imges"), 404)


def rows_columns(served: Served, view: str) -> list[str]:
    answer = served.get(f"{API}/sql", params={"q": f"from {view} limit 0", "format": "csv"})
    return next(csv.reader(io.StringIO(answer.text)))


def test_the_scope_is_in_the_path_or_in_parameters(served: Served, served_lake: Path) -> None:
    count = "select count(*) as n from images"
    with warehouse.open(str(served_lake)) as wh:
        expected = {
            "": wh.sql(count).fetchone(),
            "/asof/2020-06-01": wh.as_of("2020-06-01").sql(count).fetchone(),
            "/group/validation": wh.group("validation").sql(count).fetchone(),
            "/group/all/asof/2020-09-01": wh.group("all").as_of("2020-09-01").sql(count).fetchone(),
        }
        snapshot = wh.snapshot.number
    assert len(set(expected.values())) == 4
    for prefix, number in expected.items():
        assert (rows(served, count, prefix=prefix)[0]["n"],) == number
        words = prefix.strip("/").split("/") if prefix else []
        named = {"asof": "as_of", "group": "group"}
        params = {named[name]: value for name, value in zip(words[::2], words[1::2], strict=True)}
        answer = served.get(f"{API}/sql", params={"q": count, **params}).json()
        assert (answer["rows"][0]["n"],) == number
        assert answer["as_of"] == params.get("as_of")
    assert served.get(f"/snapshot/{snapshot}{API}/about").json()["snapshot"] == snapshot
    assert "9999" in problem(served.post(f"/snapshot/9999{API}/sql", {"sql": count}), 400)
    assert "nowhere" in problem(served.post(f"/group/nowhere{API}/sql", {"sql": count}), 400)
    for bad in ("/asof/yesterday", "/snapshot/x", "/asof/2020-06-01/asof/2020-07-01"):
        problem(served.get(f"{bad}{API}/about"), 400)
    problem(served.get(f"{API}/about", params={"as_of": "2020-13-01"}), 400)
    assert "viewers" in problem(served.get(f"/cohort/covid_risk{API}/about"), 400)


def test_every_kind_of_value_is_the_same_as_on_the_command_line(served: Served, served_lake: Path, chest: Any) -> None:
    answer = served.post(f"{API}/sql", {"sql": VALUES})
    ours = answer.json()["rows"]
    assert ours[0]["huge"] == 2**127 - 1
    assert ours[0]["i"] == 5400.0
    assert ours[0]["nan"] is ours[0]["infinite"] is ours[0]["nothing"] is None
    assert not any(ord(character) < 32 and character != "\n" for character in answer.text)
    shown = chest("sql", VALUES, "--lake", served_lake, "--format", "json")
    assert ours == json.loads(shown.stdout)
    as_csv = served.post(f"{API}/sql?format=csv", {"sql": VALUES})
    assert as_csv.text == chest("sql", VALUES, "--lake", served_lake, "--format", "csv").stdout
    assert as_csv.headers["content-type"].startswith("text/csv")
    arrow = served.post(f"{API}/sql", {"sql": VALUES}, headers={"Accept": "application/vnd.apache.arrow.stream"})
    table = pa.ipc.open_stream(arrow.content).read_all()
    assert table["day"].to_pylist()[0].isoformat() == ours[0]["day"]
    assert table["text"].to_pylist() == ["café 😀"]


def test_answers_are_cut_and_say_so(served: Served) -> None:
    many = {"sql": "select * from range(20000) as numbers(n)", "most_rows": 7}
    whole = {"sql": many["sql"], "most_rows": 20_000}
    answer = served.post(f"{API}/sql", many).json()
    assert (answer["truncated"], answer["n_rows"], len(answer["rows"])) == (True, 7, 7)
    capped = served.post(f"{API}/sql?format=csv", whole)
    assert capped.headers["x-truncated"] == "true"
    assert capped.text.count("\n") == 10_001  # the server's own limit, and the head
    arrow = served.post(f"{API}/sql?format=arrow", many)
    assert arrow.headers["x-truncated"] == "true"
    assert pa.ipc.open_stream(arrow.content).read_all().num_rows == 7
    exact = served.post(f"{API}/sql", {"sql": "from range(7)", "most_rows": 7}).json()
    assert (exact["truncated"], exact["n_rows"]) == (False, 7)
    wide = served.post(f"{API}/sql", {"sql": "select repeat('x', 3000000) as x from range(5)"}).json()
    assert (wide["truncated"], wide["n_rows"]) == (True, 2)


def test_parameters_are_bound(served: Served) -> None:
    asked = {"sql": "select $a as a, $b as b, $c as c", "parameters": {"a": "x'y", "b": 1.5, "c": [1, 2]}}
    assert served.post(f"{API}/sql", asked).json()["rows"] == [{"a": "x'y", "b": 1.5, "c": [1, 2]}]
    words = {"q": "select count(*) as n from patients where age > $age::double", "param": "age=10.5"}
    assert served.get(f"{API}/sql", params=words).json()["rows"][0]["n"] > 0
    assert "NAME=VALUE" in problem(served.get(f"{API}/sql", params={"q": "select 1", "param": "nonsense"}), 400)
    # a file is never read
    read = served.get(f"{API}/sql", params={"q": "select $a as a", "param": "a=@/etc/hostname"}).json()
    assert read["rows"] == [{"a": "@/etc/hostname"}]


def test_etags_change_with_what_an_answer_depends_on(served: Served, tokens: dict[str, str]) -> None:
    query = {"q": "select count(*) as n from images"}
    first = served.get(f"{API}/sql", params=query)
    etag = first.headers["etag"]
    again = served.get(f"{API}/sql", params=query, headers={"If-None-Match": f'"other", W/{etag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    others = [
        served.get(f"{API}/sql", params={"q": "select count(*) as m from images"}),
        served.get(f"/asof/2020-06-01{API}/sql", params=query),
        served.get(f"{API}/sql", params={**query, "format": "csv"}),
        served.get(f"{API}/sql", tokens["rows"], params=query),
    ]
    assert len({etag, *(each.headers["etag"] for each in others)}) == 5
    assert "etag" not in served.get(f"{API}/sql", params={"q": "select random() as r"}).headers
    assert "etag" not in served.post(f"{API}/sql", {"sql": query["q"]}).headers
    # a right that was lost is noticed before an answer that is held
    assert served.get(f"{API}/sql", tokens["counts"], params=query, headers={"If-None-Match": "*"}).status_code == 403


@pytest.mark.slow(after=1)
@pytest.mark.parametrize(("name", "given"), [("covid_risk", {}), ("external_validation", {"centres": ["Leeds"]})])
def test_cohorts_are_shown_counted_and_tabulated(
    served: Served, served_lake: Path, name: str, given: dict[str, Any]
) -> None:
    shown = served.get(f"{API}/cohorts/{name}").json()
    assert "select" in shown["sql"]
    needed = [each["name"] for each in shown["params"] if each["default"] is None]
    assert needed == [*given]
    words = {"param": [f"{parameter}={value}" for parameter, values in given.items() for value in values]}
    with warehouse.open(str(served_lake)) as wh:
        cohort = wh.cohort(name, **given)
        expected, steps = cohort.rows.num_rows, cohort.steps(suppress=5)
    found = served.get(f"{API}/cohorts/{name}/rows", params=words).json()
    assert (found["n_rows"], found["truncated"]) == (expected, False)
    attrition = served.get(f"{API}/cohorts/{name}/attrition", params=words).json()
    assert [each["counts"]["patients"] for each in attrition["steps"]] == [each.counts["patients"] for each in steps]
    counts = served.get(f"{API}/cohorts/{name}/counts", params=words).json()
    assert counts["patients"] == steps[-1].counts["patients"]
    assert counts["patients"] % 5 == 0
    assert served.get(f"{API}/cohorts/{name}/table1", params=words).json()["rounded_to"] == 5


def test_cohorts_with_parameters_forms_and_sql_of_ones_own(served: Served) -> None:
    listed = served.get(f"{API}/cohorts").json()["cohorts"]
    assert [each["name"] for each in listed] == list_shipped()
    place = f"{API}/cohorts/covid_risk"
    by_words = served.get(f"{place}/counts", params={"param": "days_before=0", "suppress": 0}).json()
    by_body = served.post(f"{place}/counts", {"parameters": {"days_before": 0}, "suppress": 0}).json()
    assert by_words == by_body
    assert by_words["parameters"]["days_before"] == 0
    repeated = served.get(f"{place}/counts", params={"param": ["projections=frontal", "projections=lateral"]})
    assert repeated.json()["parameters"]["projections"] == ["frontal", "lateral"]
    assert "days_befor" in problem(served.get(f"{place}/counts", params={"param": "days_befor=0"}), 400)
    table = served.get(f"{place}/table1", params={"by": "sex", "format": "csv"})
    assert next(csv.reader(io.StringIO(table.text)))[:3] == ["characteristic", "level", "group"]
    arrow = served.get(f"{place}/attrition", params={"format": "arrow"})
    assert pa.ipc.open_stream(arrow.content).read_all()["step"].to_pylist()[-1] == "answer"
    text = served.get(place).json()["sql"]
    own = served.post(f"{API}/cohorts/mine/counts", {"sql": text, "suppress": 0}).json()
    assert own["cohort"] == "mine"
    assert own["patients"] == served.get(f"{place}/counts", params={"suppress": 0}).json()["patients"]
    assert "own" in problem(served.post(f"{place}/counts", {"sql": text}), 400)
    problem(served.post(f"{API}/cohorts/..%2Fmine/counts", {"sql": text}), 404)
    wrong = problem(served.post(f"{API}/cohorts/mine/rows", {"sql": text.replace("patient_id", "patient_di")}), 400)
    assert "patient_di" in wrong
    for name in ("nothing", "%2e%2e", "covid_risk.sql"):
        problem(served.get(f"{API}/cohorts/{name}/rows"), 404)


def test_a_manifest_is_a_folder_that_verifies(served: Served, served_bucket: Path, tmp_path: Path) -> None:
    answer = served.get(f"{API}/cohorts/covid_risk/manifest", params={"objects": "dcm"})
    assert answer.headers["content-disposition"] == 'attachment; filename="covid_risk-manifest.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        archive.extractall(tmp_path / "manifest")
    manifest = open_manifest(tmp_path / "manifest")
    assert verify(manifest, source=str(served_bucket)).holds
    assert "objects" in problem(served.get(f"{API}/cohorts/covid_risk/manifest", params={"objects": "dmc"}), 400)


def test_patients(served: Served) -> None:
    (patient,) = rows(served, "select patient_id, n_studies from patients where n_studies > 1 order by 1 limit 1")
    place = f"{API}/patients/{patient['patient_id']}"
    assert served.get(place).json()["patient"]["n_studies"] == patient["n_studies"]
    events = served.get(f"{place}/timeline").json()
    assert [each["event"] for each in events["rows"]].count("study") == patient["n_studies"]
    assert served.get(f"{place}/timeline", headers={"Accept": "text/csv"}).text.startswith("day,event")
    problem(served.get(f"{API}/patients/nobody"), 404)
    assert "DuckLake" in problem(served.get(f"{API}/patients/{{DATA_PATH}}"), 400)
    assert "DuckLake" in problem(served.get(f"{API}/sql", params={"q": "select '{SNAPSHOT_ID}'"}), 400)
    assert "DuckLake" in problem(served.post(f"{API}/sql", {"sql": "from patients where sex = '{DATA_PATH}'"}), 400)
    problem(served.get(f"/asof/2000-01-01{place}"), 404)
    problem(served.get(f"/group/validation{place}/timeline"), 404)


@pytest.mark.slow
def test_checks_are_of_patients_rounded(served: Served, served_lake: Path) -> None:
    with warehouse.open(str(served_lake)) as wh:
        expected = {result.check.name: result for result in wh.check()}
    found = {each["name"]: each for each in served.get(f"{API}/checks").json()["checks"]}
    assert found.keys() == expected.keys()
    for name, check in found.items():
        n = expected[name].n_patients
        assert check["patients"] == (None if n is None else n - n % 5)
        assert check["failed"] == expected[name].failed
    exact = served.get(f"{API}/checks", params={"suppress": 0}).json()["checks"]
    assert {each["name"]: each["patients"] for each in exact} == {n: r.n_patients for n, r in expected.items()}


def test_errors_have_one_shape(served: Served) -> None:
    for body in (
        b"{",
        b"\xff\xfe",
        b'{"sql": 1}',
        b'{"sql": "select 1", "typo": 2}',
        b"[]",
        b'{"sql": "x", "most_rows": NaN}',
    ):
        answer = served.ask("POST", f"{API}/sql", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 422)
        problem(answer, answer.status_code)
    misspelt = served.post(f"{API}/sql", {"sql": "select 1", "typo": "a value"})
    assert misspelt.json()["errors"] == [{"where": "body.typo", "what": "Extra inputs are not permitted"}]
    assert "a value" not in misspelt.text
    assert "text/csv" in problem(served.get(f"{API}/sql?q=select+1", headers={"Accept": "image/png"}), 406)
    problem(served.get(f"{API}/tables", headers={"Accept": "text/csv"}), 406)
    problem(served.ask("DELETE", f"{API}/sql"), 405)
    problem(served.get(f"{API}/nothing"), 404)
    problem(served.get("/nothing"), 404)
    for query in (
        "select",
        "select 1; select 2",
        "drop view images",
        "from raw.objects",
        "from read_csv('/etc/passwd')",
    ):
        assert problem(served.post(f"{API}/sql", {"sql": query}), 400)
    assert "cast" in problem(served.post(f"{API}/sql", {"sql": "select cast('x' as integer)"}), 400).lower()
    assert served.post(f"{API}/sql", {"sql": "from raw.objects"}).json()["line"] == 1
    assert "Two columns" in problem(served.post(f"{API}/sql", {"sql": "select 1 as a, 2 as a"}), 400)


def test_the_openapi_document_and_its_page_load_nothing_from_elsewhere(served: Served) -> None:
    page = served.get("/asof/2020-06-01/docs")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for place in ("swagger-ui.css", "swagger-ui-bundle.js", "page.js", "favicon-32x32.png"):
        assert f"docs/{place}" in page.text
        loaded = served.get(f"/docs/{place}")
        assert loaded.status_code == 200
        held = served.get(f"/docs/{place}", headers={"If-None-Match": loaded.headers["etag"]})
        assert held.status_code == 304
    assert "http" not in page.text
    problem(served.get("/docs/..%2f__init__.py"), 404)
    document = served.get(f"/asof/2020-06-01{API}/openapi.json").json()
    assert document["servers"] == [{"url": f"/asof/2020-06-01{API}"}]
    assert document["paths"]["/cohorts/{name}/table1"].keys() == {"get", "post"}
    named = document["components"]["schemas"]
    assert {"Rows", "SqlQuestion", "Counts", "Problem"} <= named.keys()
    used = set(json.dumps(document).split('"#/components/schemas/')[1:])
    assert {each.split('"')[0] for each in used} <= named.keys()
    assert '"type": "null"' not in json.dumps(document)


@pytest.mark.slow
def test_the_page_of_the_api_works_in_a_browser(served: Served) -> None:
    program = shutil.which("chromium")
    if not program:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    errors: list[str] = []
    elsewhere: list[str] = []

    def watch(address: str) -> None:
        if not address.startswith((served.address, "data:", "blob:")):
            elsewhere.append(address)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        page.on("console", lambda seen: errors.append(seen.text) if seen.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: watch(request.url))
        page.goto(f"{served.address}/asof/2020-06-01/docs?token={served.token}")
        page.click("text=/about >> nth=0", timeout=60_000)
        page.click("button:has-text('Execute')")
        shown = page.text_content(".responses-table.live-responses-table .microlight", timeout=60_000)
        browser.close()
    assert '"as_of": "2020-06-01"' in shown
    assert (errors, elsewhere) == ([], [])
