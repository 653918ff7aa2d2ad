"""The form of a request, in the order of the Five Safes, with the fields of HDR UK's Data Use Register version 2."""

from __future__ import annotations

from functools import cache

from warehouse.access import kinds, vocabulary
from warehouse.access.forms import Field, Form
from warehouse.catalog import columns
from warehouse.object_store.keys import GROUPS

SECTORS = (
    "Academic Institute",
    "CQC Registered Health or/and Social Care provider",
    "Independent Sector Organisation",
    "Government Agency (Health and Adult Social Care)",
    "Commercial",
    "Local authority",
    "Government Agency (Other)",
)
#: Modalities of DICOM (PS3.3 C.7.3.1.1.1) that are images of a body.
MODALITIES = ("CR", "CT", "DX", "MG", "MR", "NM", "OT", "PT", "RF", "US", "XA")
#: Articles 6(1) and 9(2) of the UK GDPR, by letter.
ARTICLE_6 = {
    "6(1)(a)": "consent",
    "6(1)(b)": "contract",
    "6(1)(c)": "legal obligation",
    "6(1)(d)": "vital interests",
    "6(1)(e)": "public task",
    "6(1)(f)": "legitimate interests",
}
ARTICLE_9 = {
    "9(2)(a)": "explicit consent",
    "9(2)(g)": "substantial public interest",
    "9(2)(h)": "health or social care",
    "9(2)(i)": "public health",
    "9(2)(j)": "scientific research",
}
CONFIDENTIALITY = ("Not applicable", "Consent", "Section 251 NHS Act 2006", "COPI notice", "Other")
FREQUENCIES = ("One-off", "Recurring")
ACCESS_TYPES = ("TRE", "Release")


@cache
def list_fields() -> tuple[str, ...]:
    """The clinical fields that can be asked for: the fields of view clinical."""
    return tuple(column.name for column in columns.load_relations()["clinical"].columns if column.is_field)


def _describe(words: dict[str, str]) -> str:
    return ", ".join(f"{code} {meaning}" for code, meaning in words.items())


@cache
def build_form() -> Form:
    """Build the form of a request."""
    return Form(
        "request",
        "A request for access to the chest image database.",
        (*_ask_people(), *_ask_project(), *_ask_data(), *_ask_rest()),
    )


def _ask_people() -> tuple[Field, ...]:
    return (
        Field(
            "applicant",
            kinds.read_line(),
            "Name of the person who is responsible for the project.",
            section="Safe people",
        ),
        Field("orcid", kinds.read_orcid, "ORCID iD of the applicant, as 0000-0002-1825-0097 (orcid.org)."),
        Field("organisation", kinds.read_line(), "Legal name of the organisation that signs the sharing agreement."),
        Field("organisation_id", kinds.read_line(), "Identifier of the organisation, as its ROR.", ""),
        Field("organisation_sector", kinds.read_choice(SECTORS), f"One of: {'; '.join(SECTORS)}."),
        Field(
            "team",
            kinds.read_list(kinds.read_line()),
            "Everybody else who will see data: a name each.",
            [],
            is_list=True,
        ),
        Field(
            "accreditation", kinds.read_line(), "Accreditation as a researcher under the Digital Economy Act 2017.", ""
        ),
        Field("sublicence", kinds.read_line(), "Whether anybody beyond the named people may receive the data.", ""),
        Field(
            "track_record", kinds.read_paragraphs(300), "Track record and expertise of the applicants.", is_long=True
        ),
    )


def _ask_project() -> tuple[Field, ...]:
    purposes = "; ".join(vocabulary.PURPOSES)
    return (
        Field("title", kinds.read_line(), "Title of the project.", section="Safe projects"),
        Field(
            "lay_summary",
            kinds.read_paragraphs(300),
            "What is done and why, in plain English; at most 300 words.",
            is_long=True,
        ),
        Field("public_benefit", kinds.read_paragraphs(300), "What patients and NHS staff will gain.", is_long=True),
        Field("technical_summary", kinds.read_paragraphs(), "The same for a specialist.", "", is_long=True),
        Field(
            "purpose",
            kinds.read_choice(vocabulary.PURPOSES, {words: name for name, words in vocabulary.PURPOSES.items()}),
            f"One of: {purposes}.",
        ),
        Field(
            "duo",
            kinds.read_list(kinds.read_duo),
            "Codes of GA4GH's Data Use Ontology: what permission the project needs (DUO:0000007 is research on a "
            "disease), and the conditions that it promises to keep.",
            is_list=True,
        ),
        Field(
            "mondo",
            kinds.read_list(kinds.read_mondo),
            "Codes of the disease in MONDO: MONDO:0100096 is COVID-19.",
            is_list=True,
        ),
        Field("funding", kinds.read_list(kinds.read_line()), "Funders and sponsors, a name each.", is_list=True),
        Field(
            "other_approvals",
            kinds.read_list(kinds.read_line()),
            "Other committees that approved the project.",
            [],
            is_list=True,
        ),
    )


def _ask_data() -> tuple[Field, ...]:
    fields = list_fields()
    return (
        Field(
            "groups",
            kinds.read_list(kinds.read_choice(GROUPS), all_means_all=True),
            f"Groups of patients: {', '.join(GROUPS)}; validation is held back from development. Or all.",
            is_list=True,
            section="Safe data",
        ),
        Field(
            "modalities",
            kinds.read_list(kinds.read_choice(MODALITIES), all_means_all=True),
            "Images: CR and DX are X-rays, CT computed tomography, MR magnetic resonance. Or all; empty is none.",
            [],
            is_list=True,
        ),
        Field(
            "centres",
            kinds.read_list(kinds.read_line(), all_means_all=True),
            "Submitting centres, as the data name them. Or all.",
            is_list=True,
        ),
        Field(
            "fields",
            kinds.read_list(kinds.read_choice(fields), all_means_all=True),
            f"Fields of the clinical records. Or all; empty is none. They are: {', '.join(fields)}.",
            [],
            is_list=True,
        ),
        Field(
            "legal_basis_article_6",
            kinds.read_choice(ARTICLE_6),
            f"Legal basis in the UK GDPR: {_describe(ARTICLE_6)}.",
        ),
        Field(
            "legal_basis_article_9",
            kinds.read_choice(ARTICLE_9),
            f"Condition for data on health: {_describe(ARTICLE_9)}.",
        ),
        Field(
            "confidentiality",
            kinds.read_choice(CONFIDENTIALITY),
            f"How the common law duty of confidentiality is met: {', '.join(CONFIDENTIALITY)}.",
        ),
        Field("request_frequency", kinds.read_choice(FREQUENCIES), "One-off or Recurring.", "One-off"),
        Field("linkage", kinds.read_paragraphs(300), "Other data that it is linked with, and how.", "", is_long=True),
        Field(
            "linked_assets",
            kinds.read_paragraphs(300),
            "How new data made by that are kept and archived.",
            "",
            is_long=True,
        ),
    )


def _ask_rest() -> tuple[Field, ...]:
    return (
        Field(
            "access_type",
            kinds.read_choice(ACCESS_TYPES),
            "TRE (work inside an environment of ours) or Release (download).",
            section="Safe settings",
        ),
        Field(
            "security",
            kinds.read_paragraphs(300),
            "Where the data will lie, and how they are protected there.",
            is_long=True,
        ),
        Field("starts", kinds.read_day, "First day of access, as 2026-02-01."),
        Field("ends", kinds.read_day, "Last day of access; never after the end of the programme."),
        Field(
            "output",
            kinds.read_paragraphs(300),
            "What will come of it and leave: a model, a paper, a teaching set.",
            is_long=True,
            section="Safe outputs",
        ),
        Field(
            "outputs_published",
            kinds.read_list(kinds.read_line()),
            "Addresses of results that are published already.",
            [],
            is_list=True,
        ),
    )
