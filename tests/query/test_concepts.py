"""The concepts (sql/concepts), and age, sex, centre, vendor and .dcm in the views, on small buckets."""
# ruff: noqa: E501 (tables of examples are wide)

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import start_lake, write_objects
from example_lakes import build_lake, build_objects
from hypothesis import given, settings
from hypothesis import strategies as st

import warehouse
from warehouse.catalog import columns, public_views, spelling, view_lineage
from warehouse.engine import sql_files

VIEW = "patient | image | day | body | view | description | words | protocol | modality | type | runs"

#: Attributes of headers, and what is to be read from them: body, view, series, study, protocol, modality, type, orientation.
REGIONS: dict[str, tuple[str, str, str | None]] = {
    "CHEST | PA | | | | | |": ("chest", "frontal", "PA"),
    "CHEST | ap | | | | | |": ("chest", "frontal", "AP"),
    "CHEST | AP_SUPINE | | | | | |": ("chest", "frontal", "AP"),
    "THORAX | PA | | | | | |": ("chest", "frontal", "PA"),
    "LUNG | PA | | | | | |": ("chest", "frontal", "PA"),
    "PORT CHEST | AP | | | | | |": ("chest", "frontal", "AP"),
    "ABDOMENCHEST | AP | | | | | |": ("chest", "frontal", "AP"),
    "Chest PA | none | | | | | |": ("chest", "frontal", "PA"),
    "CHEST | LL | | | | | |": ("chest", "lateral", None),
    "CHEST | LATERAL | | | | | |": ("chest", "lateral", None),
    "CHEST | none | Chest Lateral | | | | |": ("chest", "lateral", None),
    "CHEST | none | CHEST LAT | | | | |": ("chest", "lateral", None),
    "CHEST | LLD | | | | | |": ("chest", "other", None),
    "CHEST | none | Left lateral decubitus | | | | |": ("chest", "other", None),
    "CHEST | RAO | | | | | |": ("chest", "other", None),
    "CHEST | none | | | | | |": ("chest", "unknown", None),
    "CHEST | none | | XR Chest PA and lateral | | | |": ("chest", "unknown", None),
    "CHEST | none | PA | XR Chest PA and lateral | | | |": ("chest", "frontal", "PA"),
    "CHEST | none | | | | | | L/F": ("chest", "frontal", None),
    "CHEST | none | | | | | | A/F": ("chest", "lateral", None),
    "none | none | | XR Chest mobile | | | |": ("chest", "unknown", None),
    "none | none | | | W chest ap | | |": ("chest", "frontal", "AP"),
    "none | none | | | | | |": ("unknown", "unknown", None),
    "CHEST | AP | Thoracic spine | | | | |": ("spine", "frontal", "AP"),
    "TSPINE | LL | | | | | |": ("spine", "lateral", None),
    "none | AP | | XR T-spine | | | |": ("spine", "frontal", "AP"),
    "none | AP | | XR Chest and thoracic spine | | | |": ("chest", "frontal", "AP"),
    "CHEST | AP | | XR Abdomen | | | |": ("other", "frontal", "AP"),
    "HAND | PA | | | | | |": ("other", "frontal", "PA"),
    "SKULL | none | | | | | |": ("other", "unknown", None),
    "none | AP | | XR Ribs left | | | |": ("other", "frontal", "AP"),
}


@pytest.fixture(scope="module")
def regions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[warehouse.Warehouse]:
    films = [VIEW]
    for n, given_ in enumerate(REGIONS):
        body, view, description, words, protocol, modality, type_, runs = (part.strip() for part in given_.split("|"))
        films.append(
            f"p | i{n:02} | 2020-04-01 | {body} | {view} | {description} | {words} | {protocol} | {modality} | {type_} | {runs}"
        )
    films += [
        "p | scout | 2020-04-01 | CHEST | none | Scout | CT Thorax | | CT | |",
        "p | locs | 2020-04-01 | CHEST | none | 1 | CT Thorax | | CT | ORIGINAL/PRIMARY/LOCALIZER |",
        "p | slice | 2020-04-01 | CHEST | none | Lung 1.0 | CT Thorax | | CT | ORIGINAL/PRIMARY/AXIAL |",
        "p | bone | 2020-04-01 | TSPINE | none | | CT Thoracic spine | | CT | |",
    ]
    with build_lake(tmp_path_factory.mktemp("regions"), "\n".join(films)) as wh:
        yield wh


def test_what_an_image_shows_is_read_from_whatever_names_it(regions: warehouse.Warehouse) -> None:
    rows = regions.sql("select SOPInstanceUID, region, projection, view from image_regions").fetchall()
    found = {name: rest for name, *rest in rows}
    wrong = {
        header: (found[f"i{n:02}"], right)
        for n, (header, right) in enumerate(REGIONS.items())
        if found[f"i{n:02}"] != [*right]
    }
    assert not wrong


def test_chest_films_and_ct_leave_out_spine_other_parts_and_localizers(regions: warehouse.Warehouse) -> None:
    films = {row[0] for row in regions.chest_films().select("SOPInstanceUID").fetchall()}
    right = {f"i{n:02}" for n, (region, *_) in enumerate(REGIONS.values()) if region in ("chest", "unknown")}
    assert films == right
    assert regions.chest_ct().select("StudyInstanceUID, n_slices").fetchall() == [("sslice", 1)]
    localizers = regions.sql("select SOPInstanceUID from image_regions where is_localizer order by 1").fetchall()
    assert localizers == [("locs",), ("scout",)]


def test_an_image_sent_twice_is_one_film_as_it_was_known(tmp_path: Path) -> None:
    wh = build_lake(
        tmp_path,
        """
        patient | image | sop | day        | view | uploaded
        a       | one   | S   | 2020-04-01 | AP   | 2020-04-05
        a       | two   | S   | 2020-04-01 | LL   | 2020-04-03
        b       | three | S   | 2020-04-01 | AP   | 2020-04-04
        b       | none  | none | 2020-04-01 | AP   | 2020-04-04
        """,
    )
    assert wh.sql("select patient_id, key, projection from chest_films").fetchall() == [
        ("a", "training/a/images_metadata/2020-04-03/two.json", "lateral")
    ]
    assert not wh.as_of("2020-04-02").sql("from chest_films").fetchall()
    assert not wh.group("validation").sql("from chest_films").fetchall()


def test_swabs(tmp_path: Path) -> None:
    wh = build_lake(
        tmp_path,
        "patient | image",
        """
        patient | uploaded   | positive_swab | pcr | pcr_day    | pcr_2 | pcr_2_day  | final | swab       | swab_status | swabs
        same    | 2020-05-01 | 2020-04-01    | 1   | 2020-04-01 |       |            |       |            |             |
        two     | 2020-05-01 | 2020-04-03    | 0   | 2020-04-01 | 1     | 2020-04-03 |       |            |             |
        ruled   | 2020-05-01 | 2020-04-01    |     |            |       |            | 0     |            |             |
        clash   | 2020-05-01 | 2020-04-01    | 0   | 2020-04-01 |       |            |       |            |             |
        noday   | 2020-05-01 |               | 1   |            |       |            |       |            |             |
        neg     | 2020-05-01 |               |     |            |       |            |       | 2020-04-01 | 0           |
        blank   | 2020-05-01 |               |     |            |       |            |       | 2020-04-01 | ?           |
        many    | 2020-05-01 |               |     |            |       |            |       |            |             | 2020-04-01 0, 2020-04-01 0, 2020-04-02 2, 2020-04-03 inconclusive
        pos     | 2020-05-01 |               |     |            |       |            |       |            |             | 2020-04-01 0, 2020-04-02 RNA DETECTED (SARS-CoV-2)
        """,
    )
    rows = wh.sql(
        "select patient_id, swab_date::varchar, result, recorded_in, is_contradicted, covid_status from swabs order by all"
    ).fetchall()
    assert rows == [
        ("blank", "2020-04-01", None, "swabdate", False, None),
        ("clash", "2020-04-01", "Negative", "first_rt_pcr", True, None),
        ("clash", "2020-04-01", "Positive", "date_of_positive_covid_swab", True, None),
        ("many", "2020-04-01", "Negative", "swabdates", False, "negative"),
        ("many", "2020-04-02", "Indeterminate", "swabdates", False, None),
        ("many", "2020-04-03", "Indeterminate", "swabdates", False, None),
        ("neg", "2020-04-01", "Negative", "swabdate", False, "negative"),
        ("noday", None, "Positive", "first_rt_pcr", False, "positive"),
        ("pos", "2020-04-01", "Negative", "swabdates", False, None),
        ("pos", "2020-04-02", "Positive", "swabdates", False, None),
        ("ruled", "2020-04-01", "Positive", "date_of_positive_covid_swab", False, None),
        ("same", "2020-04-01", "Positive", "date_of_positive_covid_swab, first_rt_pcr", False, "positive"),
        ("two", "2020-04-01", "Negative", "first_rt_pcr", False, None),
        ("two", "2020-04-03", "Positive", "date_of_positive_covid_swab, second_rt_pcr", False, "positive"),
    ]
    unread = wh.sql("select distinct unread_result from swabs where unread_result is not null order by 1").fetchall()
    assert unread == [("2",), ("?",), ("RNA DETECTED (SARS-CoV-2)",), ("inconclusive",)]
    assert not wh.as_of("2020-04-30").swabs().fetchall()


#: What a laboratory's words for a swab become: its result, and the status that another, negative swab then supports.
PHRASES = {
    "Positive": ("Positive", None),
    "SARS-CoV-2 RNA detected (low level)": ("Positive", None),
    "weakly positive on 3/4": ("Positive", None),
    "+ve": ("Positive", None),
    "False positive": (None, "negative"),
    "Positive?": ("Indeterminate", None),
    "? positive": ("Indeterminate", None),
    "Presumptive positive": ("Indeterminate", None),
    "contact of positive case": ("Indeterminate", None),
    "negative then positive": (None, None),
    "Positive / Negative": (None, None),
    "nil detected": (None, "negative"),
    "never detected": (None, "negative"),
    "Not detected": (None, "negative"),
    "could not be detected": (None, "negative"),
    "undetectable": (None, "negative"),
    "unlikely positive": (None, None),
    "2.0": ("Indeterminate", "negative"),
    "equivocal": ("Indeterminate", "negative"),
    "pending": (None, "negative"),
    "neg": (None, "negative"),
    "unknown": (None, "negative"),
}


def test_words_make_no_swab_negative_and_none_positive_that_is_in_doubt(tmp_path: Path) -> None:
    swabs = [f"p{n:02} | 2020-05-01 | 2020-04-01 | 2020-04-01 {words}, 2020-04-02 0" for n, words in enumerate(PHRASES)]
    header = "patient | uploaded | swab | swabs"
    wh = build_lake(tmp_path, "patient | image", "\n".join([header, *swabs]))
    rows = wh.sql(
        "select patient_id, swab_date::varchar, result, covid_status from swabs where recorded_in = 'swabdates'"
    )
    found = {(name, day): rest for name, day, *rest in rows.fetchall()}
    for n, (words, (result, status)) in enumerate(PHRASES.items()):
        assert found[f"p{n:02}", "2020-04-01"] == [result, None], words
        assert found[f"p{n:02}", "2020-04-02"] == ["Negative", status], words


def test_admissions(tmp_path: Path) -> None:
    wh = build_lake(
        tmp_path,
        "patient | image",
        """
        patient | uploaded   | admitted   | itu | itu_on     | intubated | intubated_on | death | died_on    | alive_on   | cxr_1      | swab
        plain   | 2020-05-01 | 2020-04-01 | 1   | 2020-04-02 | 1         | 2020-04-03   | 1     | 2020-04-09 |            |            |
        undated | 2020-05-01 | 2020-04-01 | 1   |            | 1         |              | 1     |            |            | 2020-04-05 |
        denied  | 2020-05-01 | 2020-04-01 | 0   | 2020-04-02 | 0         | 2020-04-03   | 0     | 2020-04-09 |            |            |
        days    | 2020-05-01 | 2020-04-01 |     | 2020-04-02 |           | 2020-04-03   |       | 2020-04-09 |            |            |
        alive   | 2020-05-01 | 2020-04-01 | 0   |            | 0         |              | 0     |            | 2020-04-20 | 2020-04-05 |
        odd     | 2020-05-01 | 2020-04-05 | 0   |            | 0         |              | 1     | 2020-04-03 | 2020-04-20 |            |
        later   | 2020-05-01 | 2020-04-05 | 0   |            | 0         |              |       |            | 2020-05-02 |            |
        bare    | 2020-05-01 |            | 0   |            | 0         |              |       |            |            |            |
        neg     | 2020-05-01 |            |     |            |           |              |       |            |            |            | 2020-04-01
        """,
    )
    rows = wh.sql(
        "select patient_id, was_in_itu, was_intubated, has_died, is_death_dated, last_known_alive::varchar, "
        "follow_up_end::varchar, is_plausible_order, is_itu_contradicted, is_intubation_contradicted, is_death_contradicted "
        "from admissions order by all"
    ).fetchall()
    no = (False, False, False)
    assert rows == [
        ("alive", False, False, False, False, "2020-04-20", "2020-04-20", None, *no),
        ("bare", False, False, None, False, None, None, None, *no),
        ("days", True, True, True, True, "2020-04-03", "2020-04-09", True, *no),
        ("denied", None, None, None, False, "2020-04-01", "2020-04-01", None, True, True, True),
        ("later", False, False, None, False, "2020-04-05", "2020-04-05", None, *no),
        ("odd", False, False, True, True, None, "2020-04-03", False, *no),
        ("plain", True, True, True, True, "2020-04-03", "2020-04-09", True, *no),
        ("undated", True, True, True, False, "2020-04-05", "2020-04-05", None, *no),
    ]
    assert not wh.as_of("2020-04-30").admissions().fetchall()


# --- age and sex, series and studies, the .dcm that was there ---

TAGS = {
    "sop": "00080018",
    "study": "0020000D",
    "series": "0020000E",
    "modality": "00080060",
    "day": "00080020",
    "age": "00101010",
    "sex": "00100040",
    "maker": "00080070",
}


def header(**values: str) -> str:
    return json.dumps({TAGS[name]: {"vr": "XX", "Value": [value]} for name, value in values.items()})


def opened(folder: Path, files: dict[str, str]) -> warehouse.Warehouse:
    write_objects(folder / "bucket", files)
    warehouse.refresh(str(folder / "bucket"), str(start_lake(folder / "lake")))
    return warehouse.open(str(folder / "lake"))


#: Headers of one patient, in the order of their upload, each (day of study, age, sex); and what is to be read.
AGES: list[tuple[list[tuple[str, str, str]], tuple[float | None, str | None]]] = [
    ([("", "050Y", "F"), ("20200301", "060Y", "M")], (60.0, "M")),
    ([("20200301", "050Y", "F"), ("20200302", "UNK", "")], (50.0, "F")),
    ([("20200301", "050Y", "F"), ("20200302", "999Y", "X")], (50.0, "F")),
    ([("20200301", "121Y", "O")], (None, "O")),
    ([("20200301", "120Y", "m")], (120.0, "M")),
    ([("20200301", "050Y", "F"), ("20200302", "-05Y", "O")], (50.0, "O")),
    ([("20200301", "053y", "f")], (53.0, "F")),
    ([("20200301", "018M", "")], (1.5, None)),
    ([("20200301", "000D", "")], (0.0, None)),
    ([("20200301", "053Y", ""), ("20200301", "53YR", "")], (53.0, None)),
]


def test_age_and_sex_are_of_the_newest_header_that_has_a_readable_one(tmp_path: Path) -> None:
    files = {
        f"training/P{n}/images_metadata/2020-04-01/{chr(97 + place)}.json": header(
            **{k: v for k, v in zip(("day", "age", "sex"), values, strict=True) if v}, sop=f"{n}.{place}"
        )
        for n, (headers, _) in enumerate(AGES)
        for place, values in enumerate(headers)
    }
    with opened(tmp_path, files) as wh:
        found = {
            patient: rest
            for patient, *rest in wh.sql("select patient_id, age, sex, age_source from patients").fetchall()
        }
    for n, (_, (age, sex)) in enumerate(AGES):
        assert found[f"P{n}"] == [age, sex, None if age is None else "header"], AGES[n]


@pytest.mark.slow
def test_series_and_modalities_of_studies(tmp_path: Path) -> None:
    files = {
        "a": header(sop="1", series="x"),
        "b": header(sop="2", series="x", study="s", modality="CT"),
        "c": header(sop="3", series="x", study="s"),
        "d": header(sop="4", study="t"),
    }
    with opened(tmp_path, {f"training/P/images_metadata/2020-04-01/{n}.json": h for n, h in files.items()}) as wh:
        assert wh.sql("select StudyInstanceUID, SeriesInstanceUID from series").fetchall() == [("s", "x")]
        assert wh.sql("select n_series, n_studies from patients").fetchall() == [(1, 2)]
        modalities = wh.sql("select StudyInstanceUID, ModalitiesInStudy, n_series from studies order by 1").fetchall()
        assert modalities == [("s", ["CT"], 1), ("t", [], 0)]


def _touch(path: Path, day: str) -> None:
    moment = datetime.fromisoformat(day).replace(hour=12, tzinfo=UTC).timestamp()
    os.utime(path, (moment, moment))


@pytest.mark.slow
def test_the_dcm_is_one_of_those_that_were_there(tmp_path: Path, new_lake: Path) -> None:
    """The mirrored .dcm came on 1 May, another was there from 1 April on; it comes with the first refresh or later."""
    metadata = "training/ct-metadata/P/s/e/a.json"
    files = {metadata: header(sop="1"), "training/P/images/2020-04-01/a.dcm": "xy"}
    write_objects(tmp_path / "bucket", files)
    _touch(tmp_path / "bucket" / metadata, "2020-03-20")
    bucket, place = str(tmp_path / "bucket"), str(new_lake)
    warehouse.refresh(bucket, place)
    mirrored = "training/ct/P/s/e/a.dcm"
    write_objects(tmp_path / "bucket", {mirrored: "x"})
    _touch(tmp_path / "bucket" / mirrored, "2020-05-01")
    warehouse.refresh(bucket, place)  # the image is loaded already
    warehouse.refresh(bucket, str(tmp_path / "anew"))
    for lake_folder in (place, str(tmp_path / "anew")):
        with warehouse.open(lake_folder) as wh:
            found = {
                day: wh.as_of(day).sql("select dcm_key, dcm_size, dcm_available_date::varchar from images").fetchall()
                for day in ("2020-03-31", "2020-04-15", "2020-05-01")
            }
        assert found == {
            "2020-03-31": [(None, None, None)],
            "2020-04-15": [("training/P/images/2020-04-01/a.dcm", 2, "2020-04-01")],
            "2020-05-01": [(mirrored, 1, "2020-05-01")],
        }
    (tmp_path / "bucket" / "training/P/images/2020-04-01/a.dcm").unlink()
    warehouse.refresh(bucket, place, allow_removals=True)
    with warehouse.open(place) as wh:
        assert wh.as_of("2020-04-15").sql("select dcm_key from images").fetchall() == [(None,)]


# --- one spelling ---

SPELLINGS = [
    "Leeds NHS Trust",
    " LEEDS  nhs\ttrust",
    "Leeds\u00a0NHS\u2009Trust",
    "Le\u00adeds NHS\u3000Trust\u200b",
    "leeds nhs\ntrust",
]


@pytest.mark.slow
def test_a_centre_has_one_spelling_everywhere(tmp_path: Path) -> None:
    files: dict[str, str] = {}
    for n, name in enumerate([*SPELLINGS, "Sheffield Children\u2019s NHS Foundation Trust", " \u00a0 ", "York"]):
        record = {"SubmittingCentre": name, "Date of Positive Covid Swab": "04/01/2020", "Age": "500"}
        files[f"training/data/P{n}/data_2020-05-01.json"] = json.dumps(record)
    with opened(tmp_path, files) as wh:
        centres = dict(wh.sql("select patient_id, centre from clinical").fetchall())
        assert {centres[f"P{n}"] for n in range(len(SPELLINGS))} == {"leeds nhs trust"}
        assert centres["P5"] == "sheffield childrens nhs foundation trust", "as the table of units spells it"
        assert centres["P6"] is None
        raw = dict(wh.sql("select patient_id, submitting_centre from clinical").fetchall())
        assert raw["P1"] == SPELLINGS[1].strip(), "as it was sent"
        for view in ("patients", "clinical_history", "clinical_issues"):
            assert wh.sql(f"select count(distinct centre) from {view}").fetchall() == [(3,)], view
        listed = "select centre, max(n_records) from completeness group by all order by all nulls last"
        assert wh.sql(listed).fetchall() == [
            ("leeds nhs trust", 5),
            ("sheffield childrens nhs foundation trust", 1),
            ("york", 1),
            (None, 1),
        ]
        (out_of_range,) = wh.check("values_out_of_range")
        assert len(out_of_range.rows) == 4, "a row a centre"
        folded = wh.sql("select fold_centre($name)", trusted=False, name=SPELLINGS[2]).fetchall()
        assert folded == [("leeds nhs trust",)]


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"])), min_size=1, max_size=20))
def test_folding_is_total_and_settles(names: list[str]) -> None:
    """Whatever the text: folding it twice is folding it once, and case and outer white space never matter."""
    once = spelling.fold_centres(names)
    again = spelling.fold_centres(name for name in once.values() if name is not None)
    assert all(again[name] == name for name in once.values() if name is not None)
    padded = spelling.fold_centres(f"\u00a0 {name}\t\u2003" for name in names)
    assert [padded[f"\u00a0 {name}\t\u2003"] for name in names] == [once[name] for name in names]


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"])), min_size=1, max_size=20))
def test_names_are_put_in_order_as_they_are_folded(names: list[str]) -> None:
    names += [
        *SPELLINGS,
        "Sheffield Children\u2019s NHS FT",
        "Norfolk & Norwich University Hospitals",
        "St\u2011Mary\u00b4s",
    ]
    folded = {name: spelling.fold_origin(name) for name in names}
    ours = {name: spelling.fold_origin(text or "") for name, text in spelling.fold_centres(names).items()}
    assert folded == ours
    assert {maker: spelling.fold_origin(maker) for maker in VENDORS} == VENDORS


VENDORS = {
    "SIEMENS": "siemens",
    "Siemens Healthineers": "siemens",
    " GE MEDICAL SYSTEMS": "ge",
    "GE\u00a0Healthcare": "ge",
    "General Electric": "ge",
    "Philips Medical Systems": "philips",
    "TOSHIBA_MEC": "canon",
    "Canon Inc.": "canon",
    "FUJIFILM Corporation": "fujifilm",
    "FUJI PHOTO FILM Co., ltd.": "fujifilm",
    "KODAK": "carestream",
    "CARESTREAM HEALTH": "carestream",
    "Agfa-Gevaert": "agfa",
    "Gendex": "gendex",
    "Some  Maker": "some maker",
}


def test_a_vendor_has_one_spelling(tmp_path: Path) -> None:
    files = {
        f"training/P/images_metadata/2020-04-01/{n:02}.json": header(
            sop=str(n), study=str(n), series=str(n), maker=maker
        )
        for n, maker in enumerate(VENDORS)
    }
    with opened(tmp_path, files) as wh:
        found = wh.sql("select Manufacturer, vendor from images order by key").fetchall()
        assert [vendor for _, vendor in found] == [*VENDORS.values()]
        assert found[1][0] == "Siemens Healthineers", "the attribute stays as it is"
        assert {row[0] for row in wh.sql("select vendor from series").fetchall()} == {*VENDORS.values()}


# --- what all concepts owe ---


def test_every_concept_is_a_document_a_public_view_and_in_the_dictionary() -> None:
    files = {Path(name).stem for name in sql_files.list_files("concepts")}
    assert files == set(public_views.CONCEPTS)
    for concept in public_views.CONCEPTS:
        text = sql_files.read(public_views.find_view_file(concept))
        assert text.startswith(f"-- {concept}: one row per ")
        assert "-- Limits: " in text
        relation = columns.load_relations()[concept]
        assert relation.kind == "view"
        assert all(column.meaning for column in relation.columns)
        assert not any("." in read for read in view_lineage.find_relations_read(concept)), (
            "it stands on views, which are cut by day and group"
        )


@pytest.mark.slow
def test_concepts_obey_group_and_day_and_have_the_declared_columns(samples: Path, new_lake: Path) -> None:
    warehouse.refresh(str(samples / "dated"), str(new_lake))
    with warehouse.open(str(new_lake), trusted=False) as wh:
        for concept in public_views.CONCEPTS:
            answer: Any = wh.sql(f"from {concept}", trusted=False)
            assert answer.columns == [column.name for column in columns.load_relations()[concept].columns]
            assert len(answer.fetchall()) == len(getattr(wh, concept)().fetchall()) > 0, concept
            for day in ("2020-05-15", "2020-06-30"):
                then = wh.as_of(day)
                assert not then.sql(f"select 1 from {concept} where available_date > date '{day}'").fetchall()
            groups = wh.group("validation").sql(f"select distinct group_name from {concept}").fetchall()
            assert groups in ([], [("validation",)])


@pytest.mark.slow
def test_a_snapshot_older_than_the_concepts_is_refused(tmp_path: Path) -> None:
    wh = build_lake(tmp_path, "patient | image | day\na | a | 2020-04-01")
    wh.close()
    from warehouse.lake import location
    from warehouse.lake import store as lakes
    from warehouse.settings import load_settings

    with lakes.open_writer(location.parse_address(str(tmp_path / "lake")), load_settings()) as con:
        for concept in reversed(public_views.CONCEPTS):
            con.execute(f"drop view {concept}")
    with warehouse.open(str(tmp_path / "lake"), unpublished=True, trusted=False) as old:
        with pytest.raises(warehouse.LakeError, match=r"has no view swabs: an older version published it. Refresh"):
            old.swabs()
        with pytest.raises(warehouse.LakeError, match=r"covid_risk needs the view \w+, which snapshot \d+ lacks"):
            _ = old.cohort("covid_risk").rows


@pytest.mark.slow
def test_a_lake_from_before_the_columns_is_upgraded_rightly(tmp_path: Path) -> None:
    """The new columns stand at its tables' ends, wherever they are declared: nothing may slip into another column."""
    from warehouse.lake import location
    from warehouse.lake import store as lakes
    from warehouse.settings import load_settings

    films = "patient | image | day | model\na | a | 2020-04-01 | One"
    records = "patient | uploaded | centre | age | sex\na | 2020-04-02 | Leeds | 500 | 1"
    build_lake(tmp_path, films, records).close()
    with lakes.open_writer(location.parse_address(str(tmp_path / "lake")), load_settings()) as con:
        for table, column in (("clinical", "centre"), ("clinical_issues", "centre"), ("images", "earlier_dcm")):
            con.execute(f"alter table core.{table} drop column {column}")
        con.execute("update core.clinical set rules = 'of before'")
    more = f"{records}\nb | 2020-04-02 | York | 501 | 0"
    with build_lake(tmp_path, f"{films}\nb | b | 2020-04-01 | Two", more) as wh:
        rows = wh.sql("select patient_id, submitting_centre, centre, hospital, sex from clinical order by 1").fetchall()
        assert rows == [("a", "Leeds", "leeds", None, "M"), ("b", "York", "york", None, "F")]
        issues = wh.sql("select patient_id, centre, field, raw_value, rule from clinical_issues order by 1").fetchall()
        assert issues == [("a", "leeds", "Age", "500", "out_of_range"), ("b", "york", "Age", "501", "out_of_range")]
        models = wh.sql(
            "select patient_id, ManufacturerModelName, StudyDate::varchar from images order by 1"
        ).fetchall()
        assert models == [("a", "One", "2020-04-01"), ("b", "Two", "2020-04-01")]


def test_the_objects_have_the_values_of_the_tables() -> None:
    objects = build_objects(
        "patient | image | sop | day\na | x | S | 2020-04-01",
        "patient | uploaded | swabs\na | 2020-04-02 | 2020-04-01 0",
    )
    assert json.loads(objects["training/a/images_metadata/2020-04-01/x.json"])["00080018"] == {"Value": ["S"]}
    assert json.loads(objects["training/a/data/2020-04-02/data.json"]) == {
        "SwabDates": [{"SwabDate": "01/04/2020", "SwabStatus": "0"}]
    }
