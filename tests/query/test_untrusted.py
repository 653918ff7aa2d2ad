"""Untrusted SQL: no escape gets out, layer by layer, and what researchers ask is answered.

The queries themselves are in tests/queries, one a paragraph.
"""

import csv
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from conftest import Chest, start_lake, write_objects
from hypothesis import given, settings
from hypothesis import strategies as st

import warehouse
from warehouse.catalog.public_views import AS_OF, IN_GROUP
from warehouse.errors import UntrustedSqlError, UsageError
from warehouse.query import sandbox
from warehouse.query.sandbox.plan import check_scans
from warehouse.settings import Settings
from warehouse.synthetic import make_bucket

QUERIES = Path(__file__).parent.parent / "queries"
SECRET = "nobody may read this"
HELD_BACK = "HeldBack1"

#: Functions that look at the session or only take time: no relation comes of them, so the tree alone refuses them.
_LOOKS = ("getvariable", "current_setting", "stats(", "write_log", "sleep", "in_search_path", "current_query", "_plan(")


def paragraphs(name: str) -> list[str]:
    return (QUERIES / name).read_text().strip().split("\n\n")[1:]


ESCAPES = paragraphs("escapes.sql")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a lake, in which one patient is held back, and a file that is nobody's business."""
    folder = tmp_path_factory.mktemp("untrusted")
    make_bucket(folder / "bucket", 8)
    header = {
        "00100020": {"vr": "LO", "Value": [HELD_BACK]},
        "00080060": {"vr": "CS", "Value": ["CT"]},
        "00080018": {"vr": "UI", "Value": ["1.2.3"]},
    }
    write_objects(
        folder / "bucket",
        {
            f"validation/{HELD_BACK}/data/2020-03-01/data.json": json.dumps({"Pseudonym": HELD_BACK}),
            f"validation/{HELD_BACK}/images_metadata/2020-03-01/1.2.3.json": json.dumps(header),
        },
    )
    warehouse.refresh(str(folder / "bucket"), str(start_lake(folder / "lake")))
    (folder / "secret.txt").write_text(SECRET)
    return folder


@pytest.fixture(scope="module")
def lake(root: Path) -> str:
    return str(root / "lake")


@pytest.fixture(scope="module")
def held(lake: str) -> Iterator[warehouse.Warehouse]:
    with warehouse.open(lake, trusted=False) as wh:
        yield wh


def filled(query: str, root: Path) -> str:
    """A query of escapes.sql with the paths of the lake."""
    lake = root / "lake"
    holes = {
        "{secret}": root / "secret.txt",
        "{target}": root / "target.csv",
        "{catalogue}": lake / "catalog.sqlite",
        "{datafile}": next((lake / "data" / "core" / "images").rglob("*.parquet")),
        "{data}": f"{lake / 'data'}/",
    }
    for hole, path in holes.items():
        query = query.replace(hole, str(path))
    return query


def snapshot_of(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


# --- escapes ---


@pytest.mark.parametrize("query", ESCAPES)
def test_no_escape_is_admitted(held: warehouse.Warehouse, root: Path, query: str) -> None:
    python_variable = [1]  # for a replacement scan to find
    before = snapshot_of(root)
    with pytest.raises(UsageError) as caught:
        held.sql(filled(query, root))
    assert isinstance(caught.value, UntrustedSqlError) or "cannot be read" in str(caught.value)
    assert snapshot_of(root) == before
    assert python_variable


@pytest.mark.parametrize("query", ESCAPES)
def test_the_tree_alone_refuses(held: warehouse.Warehouse, root: Path, query: str) -> None:
    with pytest.raises(UsageError):
        sandbox.check_tree(held.con, filled(query, root))


@pytest.fixture(scope="module")
def bare(lake: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that nothing was taken from: only the plan stands between a query and the machine."""
    with warehouse.open(lake) as wh:
        wh.con.execute("set explain_output = 'all'")
        yield wh.con


@pytest.mark.parametrize("query", [query for query in ESCAPES if not any(word in query.lower() for word in _LOOKS)])
def test_the_plan_alone_refuses(bare: duckdb.DuckDBPyConnection, root: Path, query: str) -> None:
    if "https:" in query or "s3:" in query:  # binding would ask there
        return
    with pytest.raises(UsageError):
        sandbox.check_plan(bare, filled(query, root))


@pytest.mark.parametrize(
    "query",
    [
        "from read_text('{secret}')",
        "from read_csv('{secret}')",
        "from read_json('{secret}')",
        "from '{secret}'",
        "from glob('{secret}')",
        "from read_csv('https://127.0.0.1:9/x.csv')",
        "from read_parquet('s3://bucket/x.parquet')",
        "copy (select 1) to '{target}'",
        "export database '{target}'",
        "attach '{target}'",
        "install httpfs",
        "load '{secret}'",
        "set enable_external_access = true",
        "set lock_configuration = false",
        "set memory_limit = '100GB'",
        "set allowed_directories = ['/']",
        "reset memory_limit",
        "pragma memory_limit = '100GB'",
        "set python_enable_replacements = true",
        "from python_variable",
        "insert into core.images select * from core.images",
        "delete from core.images",
        "drop view patients",
        "create secret s (type s3, provider credential_chain)",
        "call lake.set_option('parquet_compression', 'zstd')",
    ],
)
def test_the_connection_alone_refuses(held: warehouse.Warehouse, root: Path, query: str) -> None:
    python_variable = [1]
    before = snapshot_of(root)
    cursor = held.con.cursor()  # what holds the connection must hold what is made from it
    cursor.execute("use lake")
    for con in (held.con, cursor):
        with pytest.raises(duckdb.Error):
            con.execute(filled(query, root)).fetchall()
    assert snapshot_of(root) == before
    assert python_variable


#: Contexts that a relation R may stand in; each is a query with one column that the next can take up.
CONTEXTS = (
    "select count(*) as n from R",
    "select n from (R_QUERY) t",
    "with c as (R_QUERY) select n from c",
    "with recursive c as (select 1 as n union all select n + 1 from c where n < (select max(n) from (R_QUERY))) from c",
    "select (R_QUERY limit 1) as n",
    "select 1 as n where exists (R_QUERY)",
    "select p.n_images as n from patients p, lateral (R_QUERY) l(m)",
    "select list_transform([1], lambda x: x + (R_QUERY limit 1))[1] as n",
    "(R_QUERY) union all select 1 as n",
    "select 1 as n order by (R_QUERY limit 1)",
    "select sum(n_images) filter (where n_images in (R_QUERY)) as n from patients",
    "select case when (R_QUERY limit 1) > 0 then 1 end as n",
    "select 1 as n qualify count(*) over () < (R_QUERY limit 1)",
    "select v as n from (values ((R_QUERY limit 1))) t(v)",
)


@settings(deadline=None, max_examples=60)
@given(
    outer=st.lists(st.sampled_from(CONTEXTS[1:]), max_size=4),
    safe=st.sampled_from(("patients", "Images", '"STUDIES"', "clinical", "Series", '"headers"')),
    unsafe=st.sampled_from(
        (
            "core.images",
            'lake."core".clinical',
            "raw.records",
            "ops.rejects",
            "duckdb_tables()",
            "read_text('x')",
            "'f'",
            "main.images",
            "lake.images",
            "lake.main.images",
        )
    ),
)
def test_a_relation_is_found_anywhere_in_a_query(
    held: warehouse.Warehouse, outer: list[str], safe: str, unsafe: str
) -> None:
    """However deep, a view is admitted, and what is not a view is not."""

    def nested(relation: str) -> str:
        query = CONTEXTS[0].replace("R", relation)
        for context in outer:
            query = context.replace("R_QUERY", f"select n from ({query}) below")
        return query

    assert sandbox.check_tree(held.con, nested(safe)).views
    with pytest.raises(UntrustedSqlError):
        sandbox.check_tree(held.con, nested(unsafe))


#: What some fold makes one of two letters: Python's lower and casefold, Unicode's compatibility forms.
LOOKALIKES = {"k": "K\u212a", "s": "S\u017f", "i": "I\u0130\u0131", "a": "Aａ\u00aa", "e": "Eé", "m": "Mμ", "u": "Uü"}


@st.composite
def spellings(draw: st.DrawFn, names: tuple[str, ...]) -> str:
    """A name in one of many spellings, some of which are the same to Python and other ones to DuckDB."""
    name = draw(st.sampled_from(names))
    return "".join(draw(st.sampled_from((letter, *LOOKALIKES.get(letter, letter.upper())))) for letter in name)


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(
    view=spellings(("patients", "images", "clinical", "series", "kiosks")),
    cte=spellings(("kiosks", "isk")),
    other=spellings(("kiosks", "isk")),
    function=spellings(("lower", "sum", "mask", "list_unique", "kurtosis", "like_escape")),
)
def test_names_are_read_as_duckdb_reads_them(
    held: warehouse.Warehouse, view: str, cte: str, other: str, function: str
) -> None:
    """What the tree lets in DuckDB finds, and what it refuses DuckDB does not find: for relations, CTEs, functions."""

    def is_admitted(query: str) -> bool:
        try:
            sandbox.check_tree(held.con, query)
        except UntrustedSqlError:
            return False
        return True

    def is_found(query: str) -> bool:
        try:
            held.con.execute(f"explain {query}")
        except duckdb.CatalogException:
            return False
        except duckdb.BinderException:
            return True  # a function that is there, and takes something else
        return True

    for query in (
        f'select 1 from "{view}"',
        f'with "{cte}" as (select 1) select 1 from "{other}"',
        f'with recursive "{cte}" as (select 1 as n union all select n + 1 from "{other}" where n < 2) from "{cte}"',
        f'select "{function}"([1, 2])',
    ):
        assert is_admitted(query) == is_found(query), query


@pytest.mark.slow(after=1)
@pytest.mark.parametrize(
    "condition",
    [
        "cast(NAME as integer) > 0",
        "NAME < 'D' or cast(NAME as integer) = 0",
        "case when NAME like 'Held%' then error(NAME) is null else true end",
        "if(starts_with(NAME, 'Held'), cast(NAME as uuid), null) is null",
    ],
)
def test_no_error_shows_a_value_of_another_group(held: warehouse.Warehouse, condition: str) -> None:
    """DuckDB may put conditions in another order."""
    for view in ("clinical_history", "clinical", "images", "headers"):
        for query in (
            f"select count(*) from {view} where {condition.replace('NAME', 'patient_id')}",
            f"select max({condition.replace('NAME', 'patient_id')}) from {view}",
            f"select 1 from {view} a join {view} b on a.key = b.key and ({condition.replace('NAME', 'a.patient_id')})",
        ):
            words = ""
            try:
                held.sql(query).fetchall()
            except UsageError as error:
                words = str(error)
            assert HELD_BACK not in words, query


#: What fails on a text, and DuckDB takes for what cannot: such a condition it tries in the scan itself.
FAILING = (
    "cast(VALUE as integer[]) is null",
    "cast(VALUE as struct(a integer)) is null",
    "cast(VALUE as uuid) is null",
    "date_diff(VALUE, date '2020-01-01', date '2020-01-02') > 0",
    "regexp_replace('a', '(' || VALUE, '') = ''",
    "'a' similar to ('(' || VALUE)",
    "string_split_regex('a', '(' || VALUE) is null",
)


@pytest.mark.slow
@pytest.mark.parametrize("failing", FAILING)
def test_no_error_shows_a_value_past_the_day(lake: str, failing: str) -> None:
    """A condition on what the views keep back is tried on no row of it, wherever it stands: all are answered."""
    values = (
        "case when a.key like 'validation%' or a.key like '%/2020-0_-%' and a.key > '2020-03-15' then a.key end",
        "case when a.group_name <> 'training' then a.group_name end",
        "case when a.available_date > date '2020-03-15' then 'late' end",
    )
    with warehouse.open(lake, trusted=False) as wh:
        then = wh.as_of("2020-03-15")
        for view in ("images", "clinical_history"):
            for condition in (failing.replace("VALUE", value) for value in values):
                for query in (
                    f"select count(*) from {view} a where {condition}",
                    f"select count(*) from {view} a join patients using (patient_id) where {condition}",
                    f"with step as materialized (select key from {view} a where {condition}) from step",
                ):
                    then.sql(query).fetchall()


def test_what_known_at_is_given_sees_no_more(lake: str) -> None:
    """Its parameters are put into its own SQL, where they may name its own columns."""
    late = "case when history.available_date > date '2020-03-15' then 'late' end"
    day = f"if(cast({late} as integer[]) is null, date '2030-01-01', date '2030-01-01')"
    with warehouse.open(lake, trusted=False) as wh:
        query = f"select count(*) from patients join lateral (from known_at(patient_id, {day})) as record on true"
        assert wh.as_of("2020-03-15").sql(query).fetchone()


@pytest.mark.parametrize(
    "query",
    [
        "select " + "(" * 20_000 + "1" + ")" * 20_000,
        "select " + "[" * 400 + "1" + "]" * 400,
        "select '{}'::json" + "->'a'" * 300,
        "select " + "not " * 900 + "true",
        "select 1 " + "-- " + "x" * 4_000_000,
        "select " + "+".join(["1"] * 900),
        "select " + "+".join(["1"] * 20_000),
        "select * from (" * 400 + "select 1" + ")" * 400,
        "select " + "case when true then " * 500 + "1" + " end" * 500,
        "select 1\0; from core.images",
        "select '\udcff'",
        "",
        ";;",
        "-- nothing",
    ],
    ids=range(14),
)
def test_texts_that_are_not_a_query_are_refused_with_an_explanation(held: warehouse.Warehouse, query: str) -> None:
    with pytest.raises(UsageError):
        held.sql(query)


# --- the held-back group and the as-of date ---


def test_the_group_is_that_of_the_reader(lake: str) -> None:
    names = "select distinct patient_id from images union select patient_id from clinical_history"
    with warehouse.open(lake) as wh:
        everybody = set(wh.group("all").sql(names).fetchall())
        for group, expected in (
            ("training", everybody - {(HELD_BACK,)}),
            ("validation", {(HELD_BACK,)}),
            ("all", everybody),
        ):
            assert set(wh.group(group).sql(names, trusted=False).fetchall()) == expected
    assert (HELD_BACK,) in everybody


def test_the_plan_knows_the_filter_of_the_views_from_others(bare: duckdb.DuckDBPyConnection) -> None:
    as_views = f"available_date <= {AS_OF} and {IN_GROUP}"
    shielded = "from (from core.clinical where {}) using sample 100 percent (system)"
    check_scans(bare, shielded.format(as_views))  # nothing but what the view shows
    for other in (
        as_views.replace("'training'", "'all'").replace("getvariable('group_name')", "null"),
        as_views + " or true",
        as_views.replace("9999-12-31", "9998-12-31"),
        as_views.replace("group_name =", "patient_id ="),
        IN_GROUP,
        f"available_date <= {AS_OF}",
        "true",
    ):
        with pytest.raises(UntrustedSqlError, match="bypasses the filter on as-of date or group"):
            check_scans(bare, shielded.format(other))
    for unshielded in (
        "from core.clinical where {}",
        "from (from core.clinical using sample 100 percent (system)) where {}",
    ):
        with pytest.raises(UntrustedSqlError, match="bypasses the filter on as-of date or group"):
            check_scans(bare, unshielded.format(as_views))


def test_days_side_by_side(lake: str) -> None:
    count = "select count(*) from images"
    with warehouse.open(lake) as wh:
        for day in ("2020-03-15", "2020-06-01", "2021-12-31"):
            then = wh.as_of(day)
            assert then.sql(count, trusted=False).fetchall() == then.sql(count).fetchall()
            with warehouse.open(lake, trusted=False) as held:
                assert held.as_of(day).sql(count).fetchall() == then.sql(count).fetchall()
                with pytest.raises(UntrustedSqlError):
                    held.as_of(day).sql("from core.images")


# --- what is admitted ---


@pytest.mark.slow(after=20)
@pytest.mark.parametrize("query", paragraphs("honest.sql"))
def test_honest_queries_are_answered(held: warehouse.Warehouse, query: str) -> None:
    answer = held.ask(query, {}).fetchall()
    assert isinstance(answer, list)


def test_answers_are_those_of_trusted_sql(lake: str) -> None:
    query = "select patient_id, $word as word, count(*) n from patients join images using (patient_id) group by all"
    with warehouse.open(lake) as wh:
        trusted = wh.sql(query, word="x'").fetchall()
        assert trusted
        relation = wh.sql(query, trusted=False, word="x'")
        assert sorted(relation.fetchall()) == sorted(relation.fetchall()) == sorted(trusted)
        local = [1]  # Python's own variables are for trusted SQL alone
        assert wh.sql("select getvariable('group_name')").fetchone() == ("training",)
        assert local


def test_an_admitted_query_lists_its_relations(held: warehouse.Warehouse) -> None:
    admitted = sandbox.admit_query(held.con, "with p as (from patients) select upper(sex) from p, Series")
    assert admitted.views == {"patients", "series"}
    assert admitted.functions == {"upper"}


def test_tables_of_ours_are_readable_where_named(lake: str) -> None:
    with warehouse.open(lake, trusted=False) as wh:
        wh.con.execute("create temp table step as select patient_id from patients")
        assert sandbox.admit_query(wh.con, "from step", relations=["step"])
        for query in ("from step", "from temp.main.step"):
            with pytest.raises(UntrustedSqlError):
                sandbox.admit_query(wh.con, query)


@pytest.mark.parametrize(
    "query",
    [
        "select now()",
        "select NOW() from patients",
        "select current_date",
        'select "current_timestamp" from patients',
        "select current_timestamp",
        "select current_localtime()",
        "select today()",
        "select random()",
        "select uuid()",
        "select gen_random_uuid()",
        "select setseed(0.5)",
        "select age(clinical_date) from patients",
        "select clinical_date.age() from patients",
        "from patients using sample 3",
        "from patients tablesample 10%",
        "from (from images using sample 1 rows)",
        "select reservoir_quantile(age, 0.5) from patients",
        "select ago(interval 3 days)",
        "select list_transform([1], lambda x: x + random())",
        "select row_number() over (order by random()) from patients",
    ],
)
def test_a_repeatable_query_has_no_clock_and_no_chance(held: warehouse.Warehouse, query: str) -> None:
    with pytest.raises(UntrustedSqlError, match="not deterministic"):
        sandbox.admit_query(held.con, query, repeatable=True)


def test_a_repeatable_query_may_have_the_names(held: warehouse.Warehouse) -> None:
    query = "select age(clinical_date, first_study_date), p.age, 'now' as now from patients p"
    assert sandbox.admit_query(held.con, query, repeatable=True)


def test_the_line_is_named_and_the_nearest_word(held: warehouse.Warehouse) -> None:
    with pytest.raises(UntrustedSqlError, match=r"^Line 3: .*core\.imags.*did you mean images") as caught:
        held.sql("-- ü, 日本\nselect *\n  from core.imags")
    assert caught.value.line == 3
    with pytest.raises(UntrustedSqlError, match=r"uper\(\).*did you mean upper"):
        held.sql("select uper('a')")
    with pytest.raises(UntrustedSqlError, match="must name its values"):
        held.sql("pivot patients on sex using count(*)")
    with pytest.raises(UsageError, match=r"LINE 1: select nonsense from patients\n +\^") as caught:
        held.sql("select nonsense from patients")
    assert "explain" not in str(caught.value)


def test_the_list_of_functions_is_of_this_duckdb() -> None:
    """Every name is one that DuckDB (or its grammar) has; none listed as repeatable is volatile in DuckDB."""
    rows = list(csv.DictReader((Path(warehouse.__file__).parent.parent / "sql/sandbox/functions.csv").open()))
    names = [row["name"] for row in rows]
    assert len(names) == len(set(names))
    with duckdb.connect() as con:
        known = con.execute("select distinct lower(function_name), stability from duckdb_functions()").fetchall()
    grammar = {"coalesce", "ifnull", "if", "grouping", "grouping_id", "->", "tag", "known_at", "fold_centre"}
    grammar |= {"current_time", "current_timestamp", "localtime", "localtimestamp"}
    assert set(names) - {name for name, _ in known} - grammar == set()
    moody = {name for name, stability in known if stability in ("VOLATILE", "CONSISTENT_WITHIN_QUERY")}
    assert {row["name"] for row in rows if row["repeatable"] == "yes"} & moody == {"error"}


# --- limits ---

BOMBS = {
    "cross join": "select count(*) from range(1000000000000) a, range(1000000) b",
    "views": "select count(*) from images a, images b, images c, images d, images e, images f where a.key > f.key",
    "recursion": "with recursive r as (select 1::hugeint as n union all select n + 1 from r) select max(n) from r",
    "sorting": "select max(x) from (select md5(range::varchar) as x from range(100000000000) order by x)",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_query_that_takes_too_long_is_stopped(lake: str, bomb: str) -> None:
    with warehouse.open(lake, settings=Settings(sql_seconds=0.3), trusted=False) as wh:
        start = time.monotonic()
        with pytest.raises(UsageError, match=r"longer than 0\.3 s"):
            wh.sql(BOMBS[bomb])
        assert time.monotonic() - start < 10
        assert wh.sql("select 1").fetchall() == [(1,)]


DOUBLED = ", ".join(f"a{n} as (select * from a{n - 1} x, a{n - 1} y)" for n in range(1, 30))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("query", "words"),
    [
        # Single calls that heed no interruption.
        ("select levenshtein(lpad('a', 3000000, 'ab'), lpad('b', 3000000, 'ba'))", "longer than 1 s"),
        # What DuckDB's own memory limit does not see.
        ("select length(lpad(range::varchar, 1000000000, 'x')) from range(10)", "CHEST_SQL_MEMORY_MB"),
        (f"with a0 as (select 1 as z), {DOUBLED} select count(*) from a29", ""),
    ],
    ids=["one call", "one text", "columns"],
)
def test_a_command_ends_in_time_and_memory(
    chest: Chest, lake: str, monkeypatch: pytest.MonkeyPatch, query: str, words: str
) -> None:
    monkeypatch.setenv("CHEST_SQL_SECONDS", "1" if "1 s" in words else "20")
    monkeypatch.setenv("CHEST_SQL_MEMORY_MB", "300")
    done = chest("sql", query, "--lake", lake, "--untrusted")
    assert done.returncode == 2
    assert done.stderr.startswith("chest: ")
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


# --- the command ---


@pytest.mark.slow
def test_chest_sql_is_the_users_own_unless_untrusted(chest: Chest, lake: str, root: Path) -> None:
    reading = f"select content from read_text('{root / 'secret.txt'}')"
    refused = chest("sql", reading, "--lake", lake, "--untrusted")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert SECRET not in refused.stderr
    assert "--untrusted" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    answered = chest("sql", reading, "--lake", lake, "--format", "json")
    assert json.loads(answered.stdout) == [{"content": SECRET}]
    assert answered.stderr == ""
    before = chest("sql", reading, "--lake", lake, "--trusted", "--format", "json")
    assert before.stdout == answered.stdout
    assert "no longer needed" in before.stderr
    written = chest("sql", "create table x as select 1", "--lake", lake)
    assert (written.returncode, written.stdout) == (2, "")


def test_parameters_are_values_and_not_sql(held: warehouse.Warehouse) -> None:
    def ask(query: str, **parameters: Any) -> list[Any]:
        return held.sql(query, **parameters).fetchall()

    assert ask("select $a", a="(select 1 from core.images)") == [("(select 1 from core.images)",)]
    with pytest.raises(UsageError):
        ask("from $a", a="core.images")
    with pytest.raises(UntrustedSqlError):
        ask("from query($a)", a="from core.images")
