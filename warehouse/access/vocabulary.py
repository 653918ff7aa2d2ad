"""The words of access: roles, criteria and purposes of the original document, events and states of REMS.

REMS (github.com/CSCfi/rems) names the events of an application; where it has no name, ours begin with another word.
"""

from __future__ import annotations

#: The committee, as the document names its members: a decision needs the review of each.
ROLES = (
    "scientific advisor",
    "technology advisor",
    "information-governance advisor",
    "patient/ethics advisor",
    "system advisor",
    "administrator",
)
#: What decisions are guided by: a short name, and the document's words.
CRITERIA = {
    "scientific merit": "Scientific merit of the proposed work",
    "information governance": "Compliance with GDPR and NHS standards of information governance",
    "benefit": "Reasonable evidence that access to the data can benefit patients and NHS staff",
    "track record": "The track record and expertise of the applicants",
}
#: What the document expects the data to be used for: a short name, and its words. DUO has a term for research on a
#: disease, and none for teaching: a person must look whether the conditions of the data allow that.
PURPOSES = {
    "image processing software": "Develop image processing software",
    "mathematical modelling": "Mathematical Modelling",
    "validation of AI products": "Validation of AI products",
    "teaching": "Teaching resource for radiologists",
}
#: Who reviews where the committee lacks the expertise: "Applications are subject to external peer review".
PEER = "external peer reviewer"
#: What a review may find of a criterion.
FINDINGS = ("met", "not met", "expertise missing", "not assessed")
MET, MISSING = FINDINGS[0], FINDINGS[2]
RECOMMENDATIONS = ("approve", "return", "reject")
DECISIONS = ("approved", "rejected", "returned")

# Events of REMS.
SUBMITTED = "application.event/submitted"
RETURNED = "application.event/returned"
REVIEWED = "application.event/reviewed"
DECIDED = "application.event/decided"
REMARKED = "application.event/remarked"
APPROVED = "application.event/approved"
REJECTED = "application.event/rejected"
CLOSED = "application.event/closed"
REVOKED = "application.event/revoked"
# Ours: REMS renews by a new application, and hands the data out elsewhere.
RENEWED = "agreement.event/renewed"
ENFORCEMENT_CHANGED = "enforcement.event/changed"
RELEASED = "release.event/released"
REFUSED = "release.event/refused"
ASKED = "release.event/asked"  # in what patients are who were named
AIRLOCK_REQUESTED = "airlock.event/requested"
AIRLOCK_REVIEWED = "airlock.event/reviewed"
AIRLOCK_RELEASED = "airlock.event/released"
# The standing list of withdrawn and opted-out patients, by counts and a digest.
LIST_CHANGED = "withdrawal.event/changed"
REDACTED = "withdrawal.event/redacted"
#: What stands where a purged patient was named.
REPLACEMENT = "withdrawn"

#: The states of an application, as REMS names them (application.state/…), and the event that leads to each.
STATES = {
    SUBMITTED: "submitted",
    RETURNED: "returned",
    APPROVED: "approved",
    REJECTED: "rejected",
    CLOSED: "closed",
    REVOKED: "revoked",
}
