"""No name from outside becomes SQL: what is built into SQL is quoted, or stands in a short list with its reason."""

from pathlib import Path

import jinja2
import jinja2.meta
import pytest
import sql_building

import warehouse
from warehouse.engine import sql_files

ROOT = Path(warehouse.__file__).parent.parent
FILES = sorted([*ROOT.glob("warehouse/**/*.py"), *ROOT.glob("pipelines/**/*.py")])

#: What may become SQL without being quoted here, by the reason for it: module and expression.
ALLOWED: dict[str, set[tuple[str, str]]] = {
    "Untrusted SQL itself: judged by warehouse/query/sandbox before it runs, on a sandboxed connection": {
        ("warehouse.cohorts.attrition", "definition.followed_by"),
        ("warehouse.cohorts.binding", "definition.followed_by"),
        ("warehouse.cohorts.binding", "definition.bound_sql"),
        ("warehouse.cohorts.compare", "definition.followed_by"),
        ("warehouse.cohorts.exclusion", "definition.followed_by"),
        ("warehouse.cohorts.why", "cohort.definition.followed_by"),
        ("warehouse.cohorts.why", "asked.sql"),
        ("warehouse.cohorts.divergence", "cohort.definition.followed_by"),
        ("warehouse.cohorts.validation", "definition.bound_sql"),
        ("warehouse.cohorts.validation", "definition.followed_by"),
        ("warehouse.cohorts.answer", "self.definition.bound_sql"),
        ("warehouse.query.sandbox.__init__", "sql"),
        ("warehouse.query.sandbox.plan", "sql"),
        ("warehouse.query.sandbox.plan", "con.extract_statements"),
        ("warehouse.query.sandbox.tree", "sql"),
        ("warehouse.service.questions", "given"),
    },
    "Built in warehouse/withdrawal, which quotes there: paths of files by literal(), columns by identifier()": {
        ("warehouse.manifests.past", "manifest.contents.rows"),
        ("warehouse.withdrawal.catalogue", "self.schema"),
        ("warehouse.withdrawal.catalogue", "holes"),
        ("warehouse.withdrawal.hiding", "options"),
        ("warehouse.withdrawal.hiding", "stored.render_scan"),
        ("warehouse.withdrawal.hiding", "stored.render_encryption"),
        ("warehouse.withdrawal.mentions", "render_scan"),
        ("warehouse.withdrawal.proof", "stored.render_scan"),
        ("warehouse.withdrawal.removal", "rows.list_patient_tables"),
        ("warehouse.withdrawal.rewriting", "replaced.get"),
        ("warehouse.withdrawal.rewriting", "render_scan"),
        ("warehouse.withdrawal.rewriting", "node.render"),
        ("warehouse.withdrawal.rewriting", "render_encryption"),
        ("warehouse.withdrawal.rewriting", "catalogue"),
        ("warehouse.withdrawal.rows", "render_scan"),
        ("warehouse.withdrawal.stored", "catalogue"),
    },
    "A number of the catalogue, or positions of rows": {
        ("warehouse.withdrawal.hiding", "str"),
        ("warehouse.withdrawal.removal", "str"),
        ("warehouse.access.naming", "str"),
        ("warehouse.withdrawal.rewriting", "str"),
        ("warehouse.withdrawal.rewriting", "file.row_id_start"),
        ("warehouse.withdrawal.standing_list", "str"),
    },
    "Ranges of keys, whose bounds key_ranges.py quotes by literal(); of a plan only positions become SQL": {
        ("warehouse.ingest.key_parsing", "key_ranges.render_number"),
        ("warehouse.ingest.listing", "key_ranges.render_number"),
        ("warehouse.ingest.listing", "one.render"),
        ("warehouse.ingest.loading", "one.render"),
        ("warehouse.ingest.planning", "run.con.execute(sql['stretches'], limits).fetchall"),
        ("warehouse.ingest.planning", "run.con.execute(sql['extent']).fetchall"),
        ("warehouse.ingest.publish_gate", "one.render"),
        ("warehouse.ingest.recleaning", "one.render"),
        ("warehouse.ingest.rereading", "one.render"),
    },
    "A query of the user, which is taken apart here and not run": {
        ("warehouse.query.covering", "query"),
    },
    "A default that DuckDB has parsed as a constant just before, on a connection without a lake": {
        ("warehouse.cohorts.parameters", "param.default"),
    },
    "A constant of ours: GRAINS, an entry of a list in the same module, a file of sql/checks": {
        ("warehouse.query.checks", "check.sql"),
        ("warehouse.query.checks", "shared.rewrite"),
        ("warehouse.query.checks", "self._queries"),
        ("warehouse.query.checks", "self._made"),
        ("warehouse.catalog.check_rules", "_POSTCODE_AREAS.split"),
        ("warehouse.cohorts.compare", "definition.grain_column"),
        ("warehouse.cohorts.compare", "new.definition.grain_column"),
        ("warehouse.cohorts.divergence", "cohort.definition.grain_column"),
        ("warehouse.cohorts.exclusion", "next"),
        ("warehouse.cohorts.why", "cohort.tables"),
        ("warehouse.cohorts.divergence", "defaultdict"),
        ("warehouse.cohorts.leakage", "cohort.definition.grain_column"),
        ("warehouse.lake.connection", "location.login"),
        ("warehouse.lake.connection", "name"),
        ("warehouse.cohorts.confounding", "cohort.definition.grain_column"),
        ("warehouse.cohorts.table1", "cohort.definition.grain_column"),
        ("warehouse.ingest.pipelining", "kind.rows"),
        ("warehouse.ingest.units.registering", "kind.rows"),
        ("warehouse.ingest.unreading", "table"),
        ("pipelines.metadata", "relation"),
        ("warehouse.service.counted_patients", "cohort.definition.grain_column"),
        ("warehouse.service.explorer.builder", "selection.active"),
        ("warehouse.service.explorer.builder", "_COLUMNS.get"),
    },
    "A comment of a file that is built, in one line: what an address chooses is printable (explorer/selection.py)": {
        ("warehouse.service.explorer.builder", "describe_months"),
        ("warehouse.service.explorer.builder", "FACETS[name].label"),
    },
    "Of the index of DICOMweb: names that it quotes itself, conditions that are templates with bound values": {
        ("warehouse.service.dicomweb.index", "self.members"),
        ("warehouse.service.dicomweb.index", "index.members"),
        ("warehouse.service.dicomweb.index", "index.studies"),
        ("warehouse.service.dicomweb.searching", "index.studies"),
        ("warehouse.service.dicomweb.series_rows", "series"),
        ("warehouse.service.dicomweb.searching", "dict.fromkeys"),
        ("warehouse.service.dicomweb.searching", "of_path.to_sql"),
        ("warehouse.service.dicomweb.searching", "conditions.to_sql"),
        ("warehouse.service.dicomweb.studies", "index.is_member"),
    },
    "Quoted where it is passed: columns of the view patients, the grain; a table of ours or a file as a literal": {
        ("warehouse.cohorts.division", "holes"),
        ("warehouse.manifests.sides", "rows"),
        ("warehouse.lake.stored_sql", "words"),
    },
    "Made of the column tables in sql/columns alone": {
        ("warehouse.catalog.check_rules", "json.dumps"),
        ("warehouse.exports.meds", "meds_codes.render_clinical_events"),
        ("warehouse.ingest.record_extraction", "str"),
        ("warehouse.lake.migrations", "table.name"),
        ("warehouse.cohorts.examples.lake", "column.type"),
        ("warehouse.ingest.key_parsing", "keys.list_group_names"),
    },
    "A number, or a truth value": {
        ("warehouse.catalog.check_rules", "range"),
        ("warehouse.query.sandbox.hardening", "settings.sql_spill_mb"),
        ("warehouse.lake.connection", "settings.threads"),
        ("warehouse.lake.connection", "max"),
        ("warehouse.lake.stored_sql", "str"),
        ("warehouse.service.dicomweb.index", "str"),
        ("warehouse.query.macros", "str(calls >= _MANY_TAGS).lower"),
        ("warehouse.query.status", "str"),
        ("warehouse.cohorts.tables.reading", "str"),
        ("warehouse.ingest.readability", "last"),
        ("warehouse.ingest.scope", "str"),
        ("warehouse.ingest.units.writing", "str"),
        ("warehouse.ingest.listing", "str"),
        ("warehouse.ingest.context", "self.settings.threads"),
        ("warehouse.ingest.key_parsing", "layout.groups"),
        ("warehouse.ingest.context", "os.cpu_count"),
        ("warehouse.ingest.context", "fetch_first"),
        ("warehouse.lake.maintenance", "str(dry_run).lower"),
        ("warehouse.manifests.layouts", "str"),
        ("warehouse.lake.doctor.dropping", "file.table_id"),
        ("warehouse.lake.doctor.dropping", "str"),
        ("warehouse.service.counted_patients", "str(cohort.definition.grain == 'patient').lower"),
        ("warehouse.service.explorer.builder", "str"),
    },
    "SQL that another module has quoted, or filled from sql/, as this test sees there": {
        ("warehouse.cohorts.attrition", "binding.quote_step"),
        ("warehouse.cohorts.demographics", "attrition.build_query"),
        ("warehouse.cohorts.counted", "attrition.build_query"),
        ("warehouse.cohorts.compare", "binding.quote_step"),
        ("warehouse.cohorts.exclusion", "binding.quote_step"),
        ("warehouse.cohorts.divergence", "binding.quote_step"),
        ("warehouse.query.covering", "known_at.replace"),
        ("warehouse.query.covering", "values"),
        ("warehouse.lake.connection", "options"),
        ("warehouse.lake.listed_files", "catalogue"),
        ("warehouse.ingest.extraction", "query"),
        ("warehouse.manifests.export", "render_metadata"),
        ("warehouse.ingest.pipelining", "preparing.list_rows"),
        ("warehouse.ingest.rereading", "preparing.list_rows"),
        ("warehouse.ingest.scope", "asked.render_within"),
        ("warehouse.ingest.scope", "part.render_within"),
        ("warehouse.ingest.rereading", "run.within"),
        ("warehouse.ingest.units.writing", "preparing.list_rows"),
        ("warehouse.ingest.header_sources", "run.within"),
        ("warehouse.ingest.listing", "run.within"),
        ("warehouse.ingest.loading", "run.within"),
        ("warehouse.ingest.planning", "wanted"),
        ("warehouse.lake.maintenance", "q"),
        ("warehouse.lake.maintenance", "values"),
        ("warehouse.lake.backup.sqlite_catalog", "json.load"),
        ("warehouse.lake.backup.migrate_to_postgres", "template.replace"),
        ("warehouse.lake.backup.migrate_to_postgres", "con.execute(sql['tables']).fetchall"),
        ("warehouse.service.counted_patients", "attrition.build_query"),
        ("warehouse.service.explorer.builder", "condition.replace"),
    },
    "The type of a column: one of a list of patterns, by quote_type in warehouse/cohorts/tables/types.py": {
        ("warehouse.cohorts.binding", "quote_type"),
        ("warehouse.cohorts.tables.reading", "types.render_cast"),
        ("warehouse.cohorts.tables.types", "given"),
        ("warehouse.cohorts.tables.types", "chosen"),
        ("warehouse.cohorts.tables.types", "kind"),
        ("warehouse.cohorts.tables.types", "next"),
    },
    "A literal of a path, made by table_of in warehouse/manifests/checking.py": {
        ("warehouse.manifests.checking", "values"),
        ("warehouse.manifests.contents", "contents.rows"),
        ("warehouse.manifests.compare", "manifest.contents.rows"),
        ("warehouse.manifests.download", "contents.rows"),
        ("warehouse.manifests.download_folder", "rows"),
        ("warehouse.manifests.layouts", "rows"),
        ("warehouse.manifests.paths", "rows"),
        ("warehouse.manifests.rows", "rows"),
        ("warehouse.manifests.verify", "contents.rows"),
    },
    "No SQL: a schema, values that are bound, a key of an object": {
        ("warehouse.manifests.download_job", "item.key"),
        ("warehouse.ingest.units.registering", "groupby"),
        ("warehouse.ingest.units.writing", "layout.folder"),
        ("warehouse.ingest.units.writing", "con.execute(years).fetchall"),
        ("warehouse.cohorts.tables.types", "con.execute(sql_files.fill(sql, tests=f'{counted}, {filled}')).fetchall"),
        ("warehouse.cohorts.tables.types", "min"),
        ("warehouse.manifests.register", "manifest.about"),
        ("warehouse.manifests.register", "json.dumps"),
        ("warehouse.manifests.register", "about.get"),
        ("warehouse.manifests.register", "about.get('access', {}).get"),
        ("warehouse.ingest.recleaning", "record_extraction.extract_records"),
        ("warehouse.ingest.recleaning", "rows.filter"),
    },
}


def shape(found: sql_building.Found) -> tuple[str, str]:
    """The module and the expression, a call without its arguments."""
    source = found.source
    return found.module, sql_building.without_arguments(source)


def everything() -> list[sql_building.Found]:
    return [
        found
        for path in FILES
        for found in sql_building.find_unquoted(
            path.read_text(encoding="utf-8"), ".".join(path.relative_to(ROOT).with_suffix("").parts)
        )
    ]


def test_whatever_becomes_sql_is_quoted_or_explained() -> None:
    allowed = set().union(*ALLOWED.values())
    found = everything()
    new = [f"{one.module}:{one.line}: {one.source}" for one in found if shape(one) not in allowed]
    assert not new, "quote it by sql_files.identifier() or sql_files.literal(), or bind a parameter:\n" + "\n".join(new)
    assert allowed - {shape(one) for one in found} == set(), "no longer there: take it out of the list"


#: The faults that there were, and others of their kind: each is a function body, `bad` what must be found in it.
FAULTY = {
    "a label in quotes that are not doubled": "q = [f'\"{bad}\"' for bad in labels]\ncon.execute(', '.join(q))",
    "a step in a text": "head = f\"select '{step.bad}' as step, \"\nreturn con.execute(head + 'x')",
    "a type by its words": "kind = con.sql('select 1').types[0]\ncon.execute(f'cast(null as {kind})')",
    "a schema in an option": "words = ['x']\nwords.append(f\"schema '{place.bad}'\")\ncon.execute(', '.join(words))",
    "quotes that are doubled by hand": 'path = place.bad.replace("\'", "\'\'")\ncon.sql(f"from \'{path}\'")',
    "a hole": "con.execute(sql_files.fill(sql_files.read('x.sql'), rows=bad))",
    "holes in a dictionary": "holes = {'rows': 'a', 'labels': bad}\nsql_files.fill(sql_files.read('x.sql'), **holes)",
    "a template": "sql_files.fill(bad, rows='a')",
    "a helper": "def rows(name):\n    return f'select {name}'\ncon.execute(rows(bad))",
    "a helper, by its name": "def rows(*, name):\n    return 'select ' + name\ncon.query(rows(name=bad))",
    "one that runs it": "def run(query):\n    con.execute(query)\nrun(f'select {bad}')",
    "format": "con.execute('select {}'.format(bad))",
    "percent": "con.execute('select %s' % bad)",
    "a sum": "con.execute('select ' + bad)",
    "more and more": "text = 'select 1'\ntext += bad\ncon.execute(text)",
    "one of two": "con.execute('select 1' if x else bad)",
    "in a loop": "for bad in names:\n    con.execute(f'drop table {bad}')",
    "a key of a dictionary": "for bad, value in given.items():\n    con.execute(f'set {bad} = 1')",
    "judged, but not quoted": "sandbox.check_plan(con, f'select {bad}')",
    "several at once": "con.extract_statements(f'select 1; {bad}')",
    "quoted beside": "con.execute(f'select {identifier(name)} from {bad}')",
    "mapped by something else": "con.execute(', '.join(map(str.upper, bad)))",
    "a walrus": "if (text := f'select {bad}'):\n    con.execute(text)",
    "a lambda": "work = lambda: con.execute(f'select {bad}')",
}


@pytest.mark.parametrize("body", FAULTY.values(), ids=FAULTY)
def test_faults_are_found(body: str) -> None:
    lines = "\n    ".join(["", *body.split("\n")])
    found = sql_building.find_unquoted(f"def outer(con, place, step, labels, names, given, x, bad):{lines}\n", "faulty")
    assert any(
        "bad" in one.source or one.source in ("labels", "names", "given") or "types" in one.source for one in found
    )


@pytest.mark.parametrize(
    "body",
    [
        "con.execute('select $a', {'a': bad})",
        "con.execute(f'select {identifier(bad)} from {lake.ALIAS}.x')",
        "quoted = [sql_files.identifier(bad) for bad in labels]\ncon.execute(', '.join(quoted))",
        "con.execute(', '.join(map(sql_files.literal, labels)))",
        "def rows(name):\n    return f'select {literal(name)}'\ncon.execute(rows(bad))",
        "sql = sql_files.read_statements('x.sql')\ncon.execute(sql_files.fill(sql['a'], rows=literal(bad)))",
        "con.execute(f'set threads = {int(bad)}')",
    ],
)
def test_what_is_quoted_is_not(body: str) -> None:
    lines = "\n    ".join(["", *body.split("\n")])
    assert not sql_building.find_unquoted(f"def outer(con, labels, bad):{lines}\n", "fine")


@pytest.mark.parametrize("path", sorted((ROOT / "sql").rglob("*.sql")), ids=lambda path: path.stem)
def test_every_template_is_one_of_jinja(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    names = jinja2.meta.find_undeclared_variables(jinja2.Environment(autoescape=True).parse(text))
    values = {name: f"<{name}>" for name in names}
    rendered = jinja2.Template(text, keep_trailing_newline=True).render(values)
    assert sql_files.fill(text, **values) == rendered
