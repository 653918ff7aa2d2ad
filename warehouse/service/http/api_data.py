"""The API on what there is and on rows: about, snapshots, tables, SQL, patients, checks."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from warehouse.api import Warehouse
from warehouse.errors import NotFoundError
from warehouse.service import dictionary
from warehouse.service.checking import check_data
from warehouse.service.encoding import Encoded, Form, encode_relation
from warehouse.service.http import api_models as models
from warehouse.service.http.answers import Asking
from warehouse.service.http.api_parameters import Format, MostRows, Param, PatientId, Suppress, parse_scalars
from warehouse.service.questions import Answer
from warehouse.service.tokens import Rights
from warehouse.version import __version__

router = APIRouter()
ROWS = {"content": {"text/csv": {}, "application/vnd.apache.arrow.stream": {}}, "model": models.Rows}
_FORMS = tuple(Form)


@router.get("/about", responses={200: {"model": models.About}})
async def show_about(request: Request) -> Response:
    """The version, the snapshot and the scope that is read, and the rights of whoever asks."""
    asking = Asking.of(request)
    limits, caller = asking.service.limits, asking.caller
    return asking.answer_document(
        {
            "version": __version__,
            **asking.describe_source(),
            "snapshot_time": asking.service.find_time(asking.snapshot),
            "caller": caller.name,
            "rights": caller.rights.name,
            "groups": caller.groups,
            "suppress": asking.service.suppress,
            "most_rows": limits.most_rows,
            "seconds": limits.seconds,
        }
    )


@router.get("/snapshots", responses={200: {"model": models.Snapshots}})
async def list_snapshots(request: Request) -> Response:
    """The published snapshots that the lake still has, oldest first."""
    asking = Asking.of(request)
    found = await asking.service.call(asking.caller, asking.service.readers.list_snapshots)
    show_time = asking.service.show_time
    return asking.answer_document(
        {"snapshots": [{"number": each.number, "time": show_time(each.time)} for each in found]}
    )


@router.get("/tables", responses={200: {"model": models.Tables}})
async def list_tables(request: Request) -> Response:
    """The views that can be queried, and what a row of each is."""
    return Asking.of(request).answer_document({"tables": dictionary.list_tables()})


@router.get("/tables/{name}", responses={200: {"model": models.TableModel}})
async def describe_table(request: Request, name: str) -> Response:
    """The columns of a view: types, units, limits, codes, meaning, DICOM tag."""
    return Asking.of(request).answer_document(dictionary.describe_table(name))


@router.get("/sql", responses={200: ROWS})
async def run_sql(
    request: Request,
    q: Annotated[str, Query(description="One SELECT over the views.")],
    param: Param = [],  # noqa: B006 - FastAPI copies it
    most_rows: MostRows = None,
    form: Format = None,
) -> Response:
    """The answer to one SELECT over the views, in the sandbox. Needs rows."""
    asking = Asking.of(request, form, _FORMS)
    return await asking.ask("sql", Rights.rows, sql=q, parameters=parse_scalars(param), most_rows=most_rows)


@router.post("/sql", responses={200: ROWS})
async def post_sql(request: Request, question: models.SqlQuestion, form: Format = None) -> Response:
    """The same with the query and its parameters in the body."""
    asking = Asking.of(request, form, _FORMS)
    return await asking.ask("sql", Rights.rows, **question.model_dump())


@router.get("/patients/{patient_id}", responses={200: {"model": models.PatientModel}})
async def show_patient(request: Request, patient_id: PatientId) -> Response:
    """The row of a patient in the view patients. Needs rows."""
    asking = Asking.of(request)
    found = await asking.service.read(
        asking.caller, asking.scope, Rights.rows, _find_patient, patient_id, snapshot=asking.snapshot
    )
    return asking.answer_document({**asking.describe_source(), "patient": found})


@router.get("/patients/{patient_id}/timeline", responses={200: ROWS})
async def show_timeline(request: Request, patient_id: PatientId, form: Format = None) -> Response:
    """The studies and the clinical records of a patient, by day. Needs rows."""
    asking = Asking.of(request, form, _FORMS)
    asking.service.require(asking.caller, asking.scope, Rights.rows)
    etag = asking.find_etag()
    if etag and asking.is_held(etag):
        return asking.answer_unchanged(etag)
    limits = asking.service.limits
    given = (patient_id, asking.form, limits.most_rows, limits.most_bytes)
    found: Encoded = await asking.service.read(
        asking.caller, asking.scope, Rights.rows, _encode_timeline, *given, snapshot=asking.snapshot
    )
    return asking.answer_rows(Answer(found.data, found.n_rows, found.columns, truncated=found.truncated), etag)


@router.get("/checks", responses={200: {"model": models.Checks}})
async def list_checks(request: Request, suppress: Suppress = None) -> Response:
    """The checks of the data, and of how many patients the faulty rows of each are, rounded."""
    asking = Asking.of(request)
    service, caller = asking.service, asking.caller
    etag = asking.find_etag()
    if etag and asking.is_held(etag):
        return asking.answer_unchanged(etag)
    base = service.find_base(caller, suppress)
    service.require_counts(caller, asking.scope, base)
    memory = service.memory if service.is_remembered(caller, base) else None
    found = await service.read(
        caller, asking.scope, Rights.counts, check_data, base, memory, caller.remembered_as, snapshot=asking.snapshot
    )
    if found.n_withheld:
        asking.log(refused="DifferenceError", withheld=found.n_withheld)
    return asking.answer_document({**asking.describe_source(), "suppress": base, "checks": found.checks}, etag=etag)


def _find_patient(warehouse: Warehouse, patient_id: str) -> dict[str, object]:
    """The row of a patient; NotFoundError, without the name in the error of a log."""
    summary = warehouse.patient(patient_id).summary()
    row = summary.fetchone()
    if row is None:
        raise NotFoundError("There is no such patient.")
    return dict(zip(summary.columns, row, strict=True))


def _encode_timeline(warehouse: Warehouse, patient_id: str, form: Form, most_rows: int, most_bytes: int) -> Encoded:
    return encode_relation(warehouse.patient(patient_id).timeline(), form, most_rows, most_bytes)
