"""The API on cohorts: their definitions, and what is made of them: rows, counts, attrition, table 1, manifest."""

from __future__ import annotations

import re
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from warehouse.cohorts.description import describe_definition
from warehouse.cohorts.parsing import list_shipped, load
from warehouse.errors import NotFoundError, UsageError
from warehouse.service.encoding import Form
from warehouse.service.http import api_models as models
from warehouse.service.http.answers import Asking
from warehouse.service.http.api_data import ROWS
from warehouse.service.http.api_parameters import (
    By,
    CohortName,
    Format,
    MostRows,
    Objects,
    OwnName,
    Param,
    Suppress,
    parse_lists,
)
from warehouse.service.tokens import Rights

router = APIRouter()
_FORMS = tuple(Form)
_FILE = {"content": {"application/zip": {}}, "description": "The folder of the manifest, as a zip file."}
#: A name of one's own: it becomes part of a file's name.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


@router.get("/cohorts", responses={200: {"model": models.Cohorts}})
async def list_cohorts(request: Request) -> Response:
    """The cohorts that the warehouse ships, with their questions, parameters and steps."""
    asking = Asking.of(request)
    return asking.answer_document({"cohorts": await asking.service.call(asking.caller, _describe_all)})


@router.get("/cohorts/{name}", responses={200: {"model": models.CohortWithSql}})
async def show_cohort(request: Request, name: CohortName) -> Response:
    """The definition of a cohort, with its SQL."""
    if name not in list_shipped():
        raise NotFoundError(f"There is no cohort {name!r}. The cohorts are {', '.join(list_shipped())}.")
    asking = Asking.of(request)
    definition = await asking.service.call(asking.caller, load, name)
    return asking.answer_document({**describe_definition(definition), "sql": definition.sql})


@router.get("/cohorts/{name}/rows", responses={200: ROWS})
async def run_cohort(
    request: Request,
    name: CohortName,
    param: Param = [],  # noqa: B006 - FastAPI copies it
    most_rows: MostRows = None,
    form: Format = None,
) -> Response:
    """The rows of a cohort. Needs rows."""
    asking = Asking.of(request, form, _FORMS)
    return await asking.ask("rows", Rights.rows, name=name, parameters=parse_lists(param), most_rows=most_rows)


@router.post("/cohorts/{name}/rows", responses={200: ROWS})
async def post_cohort(request: Request, name: OwnName, question: models.RowsQuestion, form: Format = None) -> Response:
    """The same with a body: of a cohort of your own, if it has `sql`."""
    return await Asking.of(request, form, _FORMS).ask("rows", Rights.rows, **_collect(name, question))


@router.get("/cohorts/{name}/counts", responses={200: {"model": models.Counts}})
async def count_cohort(
    request: Request,
    name: CohortName,
    param: Param = [],  # noqa: B006 - FastAPI copies it
    suppress: Suppress = None,
) -> Response:
    """The number of patients of a cohort, rounded."""
    asking = Asking.of(request)
    return await asking.ask("counts", Rights.counts, name=name, parameters=parse_lists(param), suppress=suppress)


@router.post("/cohorts/{name}/counts", responses={200: {"model": models.Counts}})
async def post_counts(request: Request, name: OwnName, question: models.CountQuestion) -> Response:
    """The same with a body."""
    return await Asking.of(request).ask("counts", Rights.counts, **_collect(name, question))


@router.get("/cohorts/{name}/attrition", responses={200: {**ROWS, "model": models.Attrition}})
async def follow_attrition(
    request: Request,
    name: CohortName,
    param: Param = [],  # noqa: B006 - FastAPI copies it
    suppress: Suppress = None,
    form: Format = None,
) -> Response:
    """The patients that remain after each step of a cohort, rounded together."""
    asking = Asking.of(request, form, _FORMS)
    return await asking.ask("attrition", Rights.counts, name=name, parameters=parse_lists(param), suppress=suppress)


@router.post("/cohorts/{name}/attrition", responses={200: {**ROWS, "model": models.Attrition}})
async def post_attrition(
    request: Request, name: OwnName, question: models.CountQuestion, form: Format = None
) -> Response:
    """The same with a body."""
    return await Asking.of(request, form, _FORMS).ask("attrition", Rights.counts, **_collect(name, question))


@router.get("/cohorts/{name}/table1", responses={200: {**ROWS, "model": models.Table1Model}})
async def tabulate_cohort(
    request: Request,
    name: CohortName,
    param: Param = [],  # noqa: B006 - FastAPI copies it
    by: By = None,
    suppress: Suppress = None,
    form: Format = None,
) -> Response:
    """The characteristics of the patients of a cohort, overall and by a column; from rounded counts."""
    asking = Asking.of(request, form, _FORMS)
    given: dict[str, Any] = {"name": name, "parameters": parse_lists(param), "by": by, "suppress": suppress}
    return await asking.ask("table1", Rights.counts, **given)


@router.post("/cohorts/{name}/table1", responses={200: {**ROWS, "model": models.Table1Model}})
async def post_table1(request: Request, name: OwnName, question: models.TableQuestion, form: Format = None) -> Response:
    """The same with a body."""
    return await Asking.of(request, form, _FORMS).ask("table1", Rights.counts, **_collect(name, question))


@router.get("/cohorts/{name}/manifest", responses={200: _FILE}, response_class=Response)
async def export_manifest(
    request: Request,
    name: CohortName,
    param: Param = [],  # noqa: B006 - FastAPI copies it
    objects: Objects = "",
) -> Response:
    """The manifest of a cohort, a folder, as a zip file. It is not recorded in the lake. Needs rows."""
    given = {"name": name, "parameters": parse_lists(param), "objects": [each for each in objects.split(",") if each]}
    return await Asking.of(request, Form.json).ask("manifest", Rights.rows, **given)


@router.post("/cohorts/{name}/manifest", responses={200: _FILE}, response_class=Response)
async def post_manifest(request: Request, name: OwnName, question: models.ManifestQuestion) -> Response:
    """The same with a body."""
    return await Asking.of(request, Form.json).ask("manifest", Rights.rows, **_collect(name, question))


def _describe_all() -> list[dict[str, Any]]:
    return [describe_definition(load(name)) for name in list_shipped()]


def _collect(name: str, question: models.CohortQuestion) -> dict[str, Any]:
    """The arguments of a question; UsageError for SQL under the name of a cohort that is shipped, or no name."""
    given = question.model_dump()
    if given["sql"] and (name in list_shipped() or not _NAME.fullmatch(name)):
        raise UsageError(f"{name!r} cannot name a cohort of your own. Choose letters, digits, - and _.")
    return {**given, "name": name}
