"""The public register of data uses, in the fields of version 2 of HDR UK's standard.

The fields and their names are those of the UK Health Data Research Alliance's "Specification for data use register
fields, version 2" (2022), in its order, by the Five Safes.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from warehouse.access import vocabulary
from warehouse.access.agreements import Agreement, list_agreements
from warehouse.access.applications import Application, list_applications
from warehouse.access.log import Event
from warehouse.access.odd_events import explain_odd_events
from warehouse.access.programme import read_programme_end
from warehouse.access.request_form import ARTICLE_6, ARTICLE_9
from warehouse.engine.json_values import write_csv
from warehouse.settings import Settings
from warehouse.text import defuse_formula

FIELDS = (
    # Safe people
    "Lead applicant organisation name",
    "Organisation ID",
    "Organisation sector",
    "Applicant names",
    "Applicant ID",
    "Funders/Sponsors",
    "DEA accredited researcher?",
    "Sub-licence arrangements (if any)?",
    # Safe projects
    "Project ID",
    "Project title",
    "Lay summary",
    "Public benefit statement",
    "Request category type",
    "Technical summary",
    "Other approval committees",
    "Project start date",
    "Project end date",
    "Latest approval date",
    # Safe data
    "Dataset(s) name",
    "Data sensitivity level",
    "Legal basis for provision of data under Article 6",
    "Lawful conditions for provision of data under Article 9",
    "Common Law Duty of Confidentiality",
    "National data opt-out applied?",
    "Request frequency",
    "For linked datasets, specify how the linkage will take place",
    "For linked datasets, specify how any new assets created will be managed and archived",
    "Description of the confidential data being used",
    "Release/Access date",
    # Safe setting
    "Access type",
    "How has data been processed to enhance privacy?",
    # Safe outputs
    "Link to research outputs",
)
DATASET = "National COVID-19 Chest Image Database (NCCID)"


@explain_odd_events()
def render_register(events: Sequence[Event], settings: Settings) -> tuple[str, int]:
    """Render the register as CSV, the newest agreement first; returns it and the number of agreements."""
    agreements = list_agreements(events, read_programme_end(settings))
    applications = list_applications(events)
    file = io.StringIO()
    described = (
        _describe(applications[name], agreements[name]) for name in reversed(agreements) if name in applications
    )
    # An applicant has written the texts, and people open the register in a spreadsheet.
    write_csv(file, [FIELDS, *([defuse_formula(values[field]) for field in FIELDS] for values in described)])
    return file.getvalue(), len(agreements)


def _describe(application: Application, agreement: Agreement) -> dict[str, str]:
    asked = application.request
    approvals = [event for event in application.history if event.event in (vocabulary.APPROVED, vocabulary.RENEWED)]
    ends = min(agreement.ends, agreement.ended) if agreement.ended else agreement.ends
    people = (
        agreement.organisation,
        asked["organisation_id"],
        asked["organisation_sector"],
        ", ".join([agreement.applicant, *agreement.team]),
        f"https://orcid.org/{agreement.orcid}",
        ", ".join(asked["funding"]),
        asked["accreditation"],
        asked["sublicence"],
    )
    project = (
        agreement.id,
        agreement.title,
        asked["lay_summary"],
        asked["public_benefit"],
        vocabulary.PURPOSES[agreement.purpose],
        asked["technical_summary"],
        ", ".join(asked["other_approvals"]),
        agreement.starts.isoformat(),
        ends.isoformat(),
        approvals[-1].at.date().isoformat(),
    )
    return dict(zip(FIELDS, (*people, *project, *_describe_data(application, agreement)), strict=True))


def _describe_data(application: Application, agreement: Agreement) -> tuple[str, ...]:
    asked = application.request
    granted = next(event.body for event in application.history if event.event == vocabulary.APPROVED)
    return (
        ", ".join(f"{DATASET} {group}" for group in agreement.groups),
        "De-Personalised",
        f"Article {asked['legal_basis_article_6']} {ARTICLE_6[asked['legal_basis_article_6']]}",
        f"Article {asked['legal_basis_article_9']} {ARTICLE_9[asked['legal_basis_article_9']]}",
        asked["confidentiality"],
        granted["opt_out_applied"],
        asked["request_frequency"],
        asked["linkage"],
        asked["linked_assets"],
        ", ".join((*(f"images {name}" for name in agreement.modalities), *agreement.fields)),
        agreement.starts.isoformat(),
        asked["access_type"],
        "Patients have pseudonyms, made before the data were sent.",
        ", ".join(asked["outputs_published"]),
    )
