"""DICOMweb as clients that nobody here wrote see it: dicomweb-client, pydicom, highdicom."""

import io
import json
import re
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from dicomweb_client import DICOMwebClient
from dicomweb_client.session_utils import create_session
from served import Served

import warehouse

ANY_SYNTAX = (("application/octet-stream", "*"),)


def make_client(served: Served, prefix: str = "") -> DICOMwebClient:
    session = create_session()
    session.trust_env = False
    session.headers["Authorization"] = f"Bearer {served.token}"
    return DICOMwebClient(f"{served.address}{prefix}/dicomweb", session=session)


@pytest.fixture(scope="module")
def client(served: Served) -> DICOMwebClient:
    return make_client(served)


@pytest.fixture(scope="module")
def wh(served_lake: Path) -> warehouse.Warehouse:
    return warehouse.open(str(served_lake))


def get_uid(result: dict, tag: str = "0020000D") -> str:
    return str(result[tag]["Value"][0])


def test_searches_find_what_the_views_have(client: DICOMwebClient, wh: warehouse.Warehouse) -> None:
    studies = client.search_for_studies()
    expected = {
        row[0]: row[1:]
        for row in wh.sql(
            "select StudyInstanceUID, patient_id, n_series, strftime(StudyDate, '%Y%m%d'), ModalitiesInStudy "
            "from studies"
        ).fetchall()
    }
    assert len(studies) == len(expected)
    for study in studies:
        patient, n_series, day, modalities = expected[get_uid(study)]
        assert study["00100020"]["Value"] == [patient]
        assert study["00201206"]["Value"] == [n_series]
        assert study["00080020"].get("Value", [None]) == [day]
        assert study["00080061"]["Value"] == modalities
        dataset = pydicom.Dataset.from_json(study)
        # dicomweb-client leaves the port out of its Host header, so that this is another server's address to it.
        assert dataset.RetrieveURL == f"http://127.0.0.1/dicomweb/studies/{dataset.StudyInstanceUID}"
    n_images = sum(study["00201208"]["Value"][0] for study in studies)
    assert (n_images,) == wh.sql(
        "select count(distinct SOPInstanceUID) from images where StudyInstanceUID is not null"
    ).fetchone()


@pytest.mark.parametrize(
    ("filters", "condition"),
    [
        ({"ModalitiesInStudy": "CT"}, "list_contains(ModalitiesInStudy, 'CT')"),
        ({"00080061": "CR,DX"}, "list_has_any(ModalitiesInStudy, ['CR', 'DX'])"),
        ({"StudyDate": "20200401-20200930"}, "StudyDate between date '2020-04-01' and date '2020-09-30'"),
        ({"StudyDate": "-20200930"}, "StudyDate <= date '2020-09-30'"),
        ({"StudyTime": "12-13"}, "StudyTime >= time '12:00:00' and StudyTime < time '14:00:00'"),
        ({"StudyDescription": "XR*"}, "StudyDescription like 'XR%'"),
        ({"StudyDescription": "?R Chest"}, "StudyDescription like '_R Chest'"),
        ({"StudyDescription": "xr*"}, "false"),
        ({"PatientName": "COVID1?"}, "patient_id like 'Covid1_'"),
        ({"PatientID": "Covid1", "StudyDate": ""}, "patient_id = 'Covid1'"),
        ({"PatientID": "Covid1*"}, "patient_id like 'Covid1%'"),
    ],
)
def test_searches_match_as_sql_does(
    client: DICOMwebClient, wh: warehouse.Warehouse, filters: dict[str, str], condition: str
) -> None:
    found = sorted(get_uid(study) for study in client.search_for_studies(search_filters=filters))
    expected = wh.sql(f"select StudyInstanceUID from studies where {condition} order by all").fetchall()
    assert found == [uid for (uid,) in expected]
    assert found or condition == "false"


def test_pages_make_up_the_whole(client: DICOMwebClient) -> None:
    whole = [get_uid(series, "0020000E") for series in client.search_for_series()]
    pages = [client.search_for_series(limit=40, offset=offset) for offset in range(0, len(whole) + 40, 40)]
    assert [get_uid(series, "0020000E") for page in pages for series in page] == whole
    assert len(set(whole)) == len(whole)


def test_series_and_instances_of_a_study(client: DICOMwebClient, wh: warehouse.Warehouse) -> None:
    study = wh.sql(
        "select StudyInstanceUID from images group by all order by count(distinct SeriesInstanceUID) desc, 1 limit 1"
    ).fetchone()[0]
    series = client.search_for_series(study)
    expected = wh.sql(
        "select SeriesInstanceUID, count(distinct SOPInstanceUID) from images "
        "where StudyInstanceUID = $study group by all",
        study=study,
    ).fetchall()
    assert {(get_uid(each, "0020000E"), each["00201209"]["Value"][0]) for each in series} == {*expected}
    uid = get_uid(series[0], "0020000E")
    instances = client.search_for_instances(study, uid, fields=["all"])
    assert len(instances) == series[0]["00201209"]["Value"][0]
    assert all(each["00280010"]["Value"][0] > 0 for each in instances)
    found = client.search_for_instances(search_filters={"SOPInstanceUID": get_uid(instances[0], "00080018")})
    assert [get_uid(each, "0020000E") for each in found] == [uid]


def test_metadata_are_the_headers(client: DICOMwebClient, wh: warehouse.Warehouse) -> None:
    study, series = wh.sql(
        "select StudyInstanceUID, SeriesInstanceUID from images group by all "
        "order by count(*) desc, StudyInstanceUID, SeriesInstanceUID limit 1"
    ).fetchone()
    metadata = client.retrieve_series_metadata(study, series)
    headers = dict(
        wh.sql(
            "select images.SOPInstanceUID, header from headers inner join images using (source, key) "
            "where SeriesInstanceUID = $series",
            series=series,
        ).fetchall()
    )
    assert {get_uid(each, "00080018") for each in metadata} == {*headers}
    for each in metadata:
        header = json.loads(headers[get_uid(each, "00080018")])
        assert {tag: value for tag, value in each.items() if header.get(tag) == value}.keys() >= {
            tag for tag, value in header.items() if value is not None and "null" not in json.dumps(value)
        }
        assert pydicom.Dataset.from_json(each).SeriesInstanceUID == series
        assert "null" not in json.dumps(each)
        assert each["7FE00010"]["BulkDataURI"].endswith("/bulkdata/7FE00010")


def test_frames_are_the_pixels_of_the_files(
    client: DICOMwebClient, wh: warehouse.Warehouse, served_bucket: Path
) -> None:
    rows = wh.sql(
        "select StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, min(dcm_key) from images "
        "where dcm_key is not null "
        "group by all order by all"
    ).fetchall()
    seen = set()
    for study, series, instance, key in rows:
        dataset = pydicom.dcmread(served_bucket / key)
        syntax = dataset.file_meta.TransferSyntaxUID
        if syntax in seen and len(seen) < 3:
            continue
        seen.add(syntax)
        (decoded,) = client.retrieve_instance_frames(
            study, series, instance, [1], media_types=("application/octet-stream",)
        )
        assert np.array_equal(np.frombuffer(decoded, dataset.pixel_array.dtype), dataset.pixel_array.ravel())
        (stored,) = client.retrieve_instance_frames(study, series, instance, [1], media_types=ANY_SYNTAX)
        if syntax.is_compressed:
            assert stored.rstrip(b"\0") in dataset.PixelData
        else:
            assert stored == decoded
        if len(seen) == 3:
            break
    assert len(seen) == 3  # explicit little endian, RLE, JPEG 2000


def test_an_instance_is_the_file(client: DICOMwebClient, wh: warehouse.Warehouse, served_bucket: Path) -> None:
    study, series, instance, key = wh.sql(
        "select StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, min(dcm_key) from images "
        "where dcm_key is not null and Modality = 'CT' group by all order by all limit 1"
    ).fetchone()
    stored = client.retrieve_instance(study, series, instance, media_types=(("application/dicom", "*"),))
    expected = pydicom.dcmread(served_bucket / key)
    assert stored == expected
    explicit = client.retrieve_instance(study, series, instance)
    assert explicit.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    assert np.array_equal(explicit.pixel_array, expected.pixel_array)


def test_highdicom_makes_a_volume_of_a_series(client: DICOMwebClient, wh: warehouse.Warehouse) -> None:
    study, series, n_slices = wh.sql(
        "select StudyInstanceUID, SeriesInstanceUID, n_slices from volume_geometry "
        "inner join series using (patient_id, StudyInstanceUID, SeriesInstanceUID) "
        "where is_volume and n_dcm = series.n_images order by n_slices desc, SeriesInstanceUID limit 1"
    ).fetchone()
    datasets = client.retrieve_series(study, series)
    files = []
    for dataset in datasets:
        to = io.BytesIO()
        dataset.save_as(to)
        to.seek(0)
        files.append(highdicom.imread(to))
    volume = highdicom.get_volume_from_series(files)
    assert volume.spatial_shape[0] == n_slices


def test_a_client_sees_the_lake_of_a_day(served: Served, wh: warehouse.Warehouse) -> None:
    day = "2020-12-31"
    then = make_client(served, f"/asof/{day}")
    expected = {uid for (uid,) in wh.as_of(day).sql("select distinct StudyInstanceUID from studies").fetchall()}
    assert {get_uid(study) for study in then.search_for_studies()} == expected
    later = wh.sql(
        "select StudyInstanceUID from studies where available_date > $day order by all limit 1", day=day
    ).fetchone()[0]
    assert served.get(f"/dicomweb/studies/{later}/metadata").status_code == 200
    for path in ("metadata", "thumbnail", ""):
        assert served.get(f"/asof/{day}/dicomweb/studies/{later}/{path}".rstrip("/")).status_code == 404
    assert then.search_for_studies()[0]["00081190"]["Value"][0].startswith(f"http://127.0.0.1/asof/{day}/dicomweb/")


def test_a_cohort_is_a_worklist(served: Served, wh: warehouse.Warehouse) -> None:
    answer = wh.cohort("longitudinal_ct")
    column = answer.definition.grain_column
    chosen = [*dict.fromkeys(answer.rows.column(column).to_pylist())]
    expected = wh.sql(
        f"select distinct StudyInstanceUID from images where list_contains($chosen, {column})", chosen=chosen
    ).fetchall()
    client = make_client(served, "/cohort/longitudinal_ct")
    found = {get_uid(study) for study in client.search_for_studies()}
    assert found == {uid for (uid,) in expected}
    other = next(uid for (uid,) in wh.sql("select StudyInstanceUID from studies").fetchall() if uid not in found)
    assert served.get(f"/cohort/longitudinal_ct/dicomweb/studies/{other}/metadata").status_code == 404
    assert served.get("/cohort/nothing/dicomweb/studies").status_code in (400, 404)


@pytest.mark.slow
def test_the_example_of_the_page_runs(served: Served) -> None:
    page = (Path(warehouse.__file__).parent.parent / "docs/viewers.md").read_text("utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    text = example.replace("http://127.0.0.1:8042", served.address).replace("Bearer TOKEN", f"Bearer {served.token}")
    found: dict[str, Any] = {}
    exec(text, found)
    assert np.array_equal(
        np.frombuffer(found["frame"], found["image"].pixel_array.dtype), found["image"].pixel_array.ravel()
    )
    assert len(found["studies"]) > 1
