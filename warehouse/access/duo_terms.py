"""The terms of the Data Use Ontology (DUO) of GA4GH, and of MONDO for the disease of this database."""

from __future__ import annotations

#: Permissions and modifiers: what data may be used for (http://purl.obolibrary.org/obo/duo.owl).
CONDITIONS = {
    "DUO:0000004": "no restriction",
    "DUO:0000006": "health or medical or biomedical research",
    "DUO:0000007": "disease specific research",
    "DUO:0000011": "population origins or ancestry research only",
    "DUO:0000012": "research specific restrictions",
    "DUO:0000015": "no general methods research",
    "DUO:0000016": "genetic studies only",
    "DUO:0000018": "not for profit, non commercial use only",
    "DUO:0000019": "publication required",
    "DUO:0000020": "collaboration required",
    "DUO:0000021": "ethics approval required",
    "DUO:0000022": "geographical restriction",
    "DUO:0000024": "publication moratorium",
    "DUO:0000025": "time limit on use",
    "DUO:0000026": "user specific restriction",
    "DUO:0000027": "project specific restriction",
    "DUO:0000028": "institution specific restriction",
    "DUO:0000029": "return to database or resource",
    "DUO:0000042": "general research use",
    "DUO:0000043": "clinical care use",
    "DUO:0000044": "population origins or ancestry research prohibited",
    "DUO:0000045": "not for profit organisation use only",
    "DUO:0000046": "non-commercial use only",
}
#: Investigations: what somebody is going to do.
INVESTIGATIONS = {
    "DUO:0000031": "method development",
    "DUO:0000032": "population research",
    "DUO:0000033": "ancestry research",
    "DUO:0000034": "age category research",
    "DUO:0000035": "gender category research",
    "DUO:0000036": "research control",
    "DUO:0000037": "biomedical research",
    "DUO:0000038": "genetic research",
    "DUO:0000039": "drug development research",
    "DUO:0000040": "disease category research",
}
COVID = "MONDO:0100096"
DISEASES = {COVID: "COVID-19"}
