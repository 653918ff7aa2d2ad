"""What DICOMweb answers to requests of every form: statuses, media types, rights, the log, a changed bucket."""

import json
import os
import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import start_lake
from served import PATIENT, Served, serve_thread

import warehouse
from warehouse.service.dicomweb import index, routes, series_rows

UID = "1.2.826.0.1"


def get_uid(result: dict, tag: str = "0020000D") -> str:
    return str(result[tag]["Value"][0])


def find_image(served: Served, where: str = "ModalitiesInStudy=CT") -> str:
    """The path of an image whose pixels are there."""
    study = served.get(f"/dicomweb/studies?{where}&InstanceAvailability=ONLINE&limit=1").json()[0]
    instance = served.get(f"/dicomweb/studies/{get_uid(study)}/instances?limit=1").json()[0]
    return (
        f"/dicomweb/studies/{get_uid(study)}/series/{get_uid(instance, '0020000E')}"
        f"/instances/{get_uid(instance, '00080018')}"
    )


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/studies?PatientID=nobody", 204, ""),
        ("/studies?limit=0", 204, ""),
        ("/studies?offset=100000", 204, ""),
        (f"/studies?StudyInstanceUID={UID},{UID}.1", 204, ""),
        ("/studies?limit=x", 400, "limit is a whole number"),
        ("/studies?NoAttribute=1", 400, "knows no attribute"),
        ("/studies?KVP=90", 400, "belongs to each instance"),
        ("/studies?WindowCenterWidthExplanation=1", 400, "cannot be searched"),
        ("/studies?StudyDate=2020-01-01", 400, "YYYYMMDD"),
        ("/studies?StudyDate=20201301", 400, "YYYYMMDD"),
        ("/studies?PatientID=a&PatientID=b", 400, "given twice"),
        ("/studies?fuzzymatching=perhaps", 400, "true or false"),
        ("/studies?includefield=nonsense", 400, "to include"),
        ("/series?SeriesNumber=one", 400, "is a number"),
        (f"/studies/{UID}/metadata", 404, "no such study"),
        (f"/studies/{UID}/series/{UID}/instances/{UID}/frames/1", 404, "no such"),
        ("/studies/%00/metadata", 400, "zero byte"),
        ("/nothing", 404, ""),
    ],
)
def test_statuses(served: Served, path: str, status: int, words: str) -> None:
    response = served.get(f"/dicomweb{path}")
    assert response.status_code == status, response.text
    assert words in response.text
    if status >= 400:
        assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.slow
def test_an_index_is_the_same_however_the_lake_is_divided(
    served: Served, served_lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_IMAGES_A_PART", 7)
    with serve_thread(served_lake) as in_parts:
        for what in ("studies", "series", "instances"):
            path = f"/asof/2020-12-31/dicomweb/{what}?limit=10000&includefield=all"
            found, expected = (json.loads(one.get(path).text.replace(one.address, "")) for one in (in_parts, served))
            assert found == expected, what


def test_results_have_what_the_standard_requires(served: Served) -> None:
    required = {
        "studies": "00080020 00080030 00080050 00080056 00080061 00080090 00080201 00081190 00100010 00100020 00100030 "
        "00100040 0020000D 00200010 00201206 00201208",
        "series": "00080060 00080201 0008103E 00081190 0020000E 00200011 00201209 00400244 00400245 00400275",
        "instances": "00080016 00080018 00080056 00080201 00081190 00200013 00280010 00280011 00280100 00280008",
    }
    for name, tags in required.items():
        result = served.get(f"/dicomweb/{name}?limit=1").json()[0]
        assert result.keys() >= {*tags.split()}, name
        assert all("vr" in attribute for attribute in result.values())


def test_fields_are_included_by_keyword_and_tag(served: Served) -> None:
    by_name = served.get("/dicomweb/studies?limit=3&includefield=StudyDescription,InstitutionName").json()
    by_tag = served.get("/dicomweb/studies?limit=3&includefield=00081030&includefield=00080080").json()
    assert by_name == by_tag
    assert all("00080080" in result for result in by_name)
    everything = served.get("/dicomweb/instances?limit=1&includefield=all").json()[0]
    assert len(everything) > 60
    assert "00100020" in everything


def test_items_of_requests_are_matched(served: Served) -> None:
    series = served.get("/dicomweb/series?RequestAttributesSequence.RequestedProcedureID=1&limit=5").json()
    assert series
    assert all(each["00400275"]["Value"][0]["00401001"]["Value"] == ["1"] for each in series)
    same = served.get("/dicomweb/series?00400275.00401001=1&limit=5").json()
    assert same == series
    assert served.get("/dicomweb/series?RequestedProcedureID=1").status_code == 400


def test_fuzzy_matching_is_declined_as_the_standard_says(served: Served) -> None:
    response = served.get("/dicomweb/studies?fuzzymatching=true&limit=1")
    assert response.status_code == 200
    assert response.headers["warning"] == (
        f'299 {served.address}/dicomweb "The fuzzymatching parameter is not supported. Only literal matching has been '
        'performed."'
    )


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/dicom+json", 200),
        ("application/json", 200),
        ("text/html, */*;q=0.1", 200),
        ('multipart/related; type="application/dicom+xml"', 406),
        ("application/dicom+json;q=0", 406),
    ],
)
def test_media_types_of_searches(served: Served, accept: str, status: int) -> None:
    assert served.get("/dicomweb/studies?limit=1", headers={"Accept": accept}).status_code == status


@pytest.mark.parametrize(
    ("accept", "status", "media"),
    [
        ("application/octet-stream", 200, "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"),
        ("multipart/related; type=application/octet-stream; transfer-syntax=*", 200, "multipart/related"),
        ('multipart/related; type="image/jls"', 406, "application/problem+json"),
        ("application/octet-stream; transfer-syntax=1.2.840.10008.1.2.4.81", 406, "application/problem+json"),
        ("text/html", 406, "application/problem+json"),
    ],
)
def test_media_types_of_frames(served: Served, accept: str, status: int, media: str) -> None:
    response = served.get(f"{find_image(served)}/frames/1", headers={"Accept": accept})
    assert (response.status_code, response.headers["content-type"].startswith(media)) == (status, True)


def test_rights(served: Served, tokens: dict[str, str]) -> None:
    image = find_image(served)
    study = image.split("/series")[0]
    for caller, searches, pixels in (("counts", 403, 403), ("rows", 200, 403), ("pixels", 200, 200)):
        for path in ("/dicomweb/studies", f"{image}/metadata", f"{study}/metadata", f"{study}/series"):
            assert served.get(path, tokens[caller]).status_code == searches, path
        for path in (image, f"{image}/frames/1", f"{image}/rendered", f"{image}/thumbnail", f"{study}/thumbnail"):
            assert served.get(path, tokens[caller]).status_code == pixels, path
        assert served.get(f"{image}/bulkdata/7FE00010", tokens[caller]).status_code == pixels
    assert served.get("/group/validation/dicomweb/studies", tokens["pixels"]).status_code == 403
    assert served.get(f"/group/validation{image}/metadata", tokens["all"]).status_code == 404


def test_the_log_names_no_patient(served: Served) -> None:
    image = find_image(served)
    served.get(f"{image}/metadata")
    served.get("/dicomweb/studies?PatientID=Covid1")
    lines = served.read_log()[-2:]
    assert [line["asked"] for line in lines] == ["retrieve_metadata", "search_studies"]
    assert lines[0]["rows"] == 1
    assert "Covid1" not in json.dumps(lines)
    assert "2.25" not in json.dumps(lines)


def test_the_series_of_a_study_are_those_of_a_search_by_its_uid(served: Served) -> None:
    """In the same order, page by page: the one is sorted by Python, the other by SQL."""
    most = max(served.get("/dicomweb/studies").json(), key=lambda study: study["00201206"]["Value"][0])
    by_path, by_uid = f"/dicomweb/studies/{get_uid(most)}/series", f"/dicomweb/series?StudyInstanceUID={get_uid(most)}"
    found = served.get(by_path).json()
    assert len(found) == most["00201206"]["Value"][0] > 1
    assert found == served.get(by_uid).json()
    assert found[1:2] == served.get(f"{by_path}?limit=1&offset=1").json()


@pytest.mark.slow
def test_series_are_the_same_without_rows_in_memory(
    served: Served, served_lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series_rows, "_MOST", 0)
    with serve_thread(served_lake) as without:
        for study in served.get("/dicomweb/studies?limit=20").json():
            for asked in ("", "?includefield=all", "?includefield=SeriesDate&limit=1&offset=1", "?Modality=C*"):
                path = f"/dicomweb/studies/{get_uid(study)}/series{asked}"
                found, expected = (one.get(path) for one in (served, without))
                assert found.status_code == expected.status_code
                assert found.text.replace(served.address, "") == expected.text.replace(without.address, ""), path


@pytest.mark.slow
@pytest.mark.parametrize("most_ahead", [0, 2])
def test_metadata_are_the_same_however_they_are_read(
    most_ahead: int, served: Served, served_lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Headers of a study or series are read while its images are looked up, unless there are too many between them."""
    monkeypatch.setattr(routes, "_MOST_AHEAD", most_ahead)
    series = served.get("/dicomweb/series?limit=20").json()
    with serve_thread(served_lake) as anew:
        for one in series:
            study = f"/dicomweb/studies/{get_uid(one)}"
            path = f"{study}/series/{get_uid(one, '0020000E')}"
            each = [
                served.get(f"{path}/instances/{get_uid(instance, '00080018')}/metadata").json()[0]
                for instance in served.get(f"{path}/instances").json()
            ]
            texts = [anew.get(f"{above}/metadata").text.replace(anew.address, "") for above in (path, study)]
            expected = json.loads(json.dumps(each).replace(served.address, ""))
            assert json.loads(texts[0]) == expected
            of_study = json.loads(texts[1])
            assert [header for header in of_study if header in expected] == expected


@pytest.mark.slow(after=3)
@pytest.mark.parametrize("prefix", ["", "/asof/2020-06-01", "/cohort/longitudinal_ct"])
@pytest.mark.parametrize("limit", [1, 7, 60])
def test_all_instances_are_paged(limit: int, prefix: str, served: Served) -> None:
    """Page by page all are there, once, in the order of a single page; a page that is cut short states it."""
    place = f"{prefix}/dicomweb/instances"
    everything = served.get(place)
    assert "warning" not in everything.headers
    uids = [get_uid(each, "00080018") for each in everything.json()]
    studies = served.get(f"{prefix}/dicomweb/studies").json()
    assert len(uids) == sum(each["00201208"]["Value"][0] for each in studies) > 2
    found = list[str]()
    for offset in range(0, len(uids), limit) if limit > 1 else (0, 1, len(uids) // 2, len(uids) - 1):
        page = served.get(f"{place}?limit={limit}&offset={offset}").json()
        assert [get_uid(each, "00080018") for each in page] == uids[offset : offset + limit]
        found += uids[offset : offset + limit]
    assert limit == 1 or found == uids
    assert served.get(f"{place}?offset={len(uids)}").status_code == 204


@pytest.mark.slow
def test_a_search_for_everything_has_a_limit_and_says_so(served_lake: Path) -> None:
    with serve_thread(served_lake, limits=replace(PATIENT, most_rows=5)) as running:
        for more in ("", "?limit=100"):
            answer = running.get(f"/dicomweb/instances{more}")
            assert len(answer.json()) == 5
            assert answer.headers["warning"].startswith("299 ")
            assert "There are additional results that can be requested." in answer.headers["warning"]
        assert "warning" not in running.get("/dicomweb/instances?limit=5").headers, "as many as were asked for"


def test_an_image_that_was_sent_twice_is_shown_once(served: Served, served_lake: Path) -> None:
    with warehouse.open(str(served_lake)) as wh:
        instance, study, n_rows = wh.sql(
            "select SOPInstanceUID, min(StudyInstanceUID), count(*) from images group by all "
            "having count(*) > 1 limit 1"
        ).fetchone()
        first = wh.sql(
            "select header from headers inner join images using (source, key) where SOPInstanceUID = $uid "
            "order by images.available_date, key, source limit 1",
            uid=instance,
        ).fetchone()
    assert n_rows > 1
    found = [
        each
        for each in served.get(f"/dicomweb/studies/{study}/metadata").json()
        if get_uid(each, "00080018") == instance
    ]
    assert len(found) == 1
    header = json.loads(first[0])
    assert all(found[0][tag] == value for tag, value in header.items() if value and "null" not in json.dumps(value))
    searched = served.get(f"/dicomweb/instances?SOPInstanceUID={instance}").json()
    assert len(searched) == 1


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory, served_bucket: Path) -> Iterator[tuple[Served, Path]]:
    """A server of a bucket of its own, which a test may change."""
    bucket = tmp_path_factory.mktemp("changing") / "bucket"
    shutil.copytree(served_bucket, bucket)
    lake = start_lake(bucket.with_name("lake"))
    warehouse.refresh(str(bucket), str(lake))
    with serve_thread(lake) as running:
        yield running, bucket


@pytest.mark.slow
def test_an_object_that_changed_is_never_sent(changing: tuple[Served, Path]) -> None:
    served, bucket = changing
    image = find_image(served)
    uid = image.rpartition("/")[2]
    assert served.service
    with warehouse.open(served.service.readers.lake) as wh:
        (key,) = wh.sql("select dcm_key from images where SOPInstanceUID = $uid", uid=uid).fetchone()
    path = bucket / key
    kept, stat = path.read_bytes(), path.stat()
    everything = [image, f"{image}/frames/1", f"{image}/rendered", f"{image}/bulkdata/7FE00010"]
    path.write_bytes(kept[:-2] + b"\1\1")
    for place in everything:
        response = served.get(place)
        assert (response.status_code, response.json()["title"]) == (409, "The object has changed in the bucket")
    path.unlink()
    for place in everything:
        assert served.get(place).status_code == 410
    path.write_bytes(kept)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    for place in everything:
        assert served.get(place).status_code == 200


def test_slow_clients_hold_no_lake_session(served: Served) -> None:
    """More clients than there are sessions ask for a study and read nothing of it; searches go on."""
    study = find_image(served).split("/series")[0]
    host, _, port = served.address.removeprefix("http://").partition(":")
    request = f"GET {study} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {served.token}\r\n\r\n".encode()
    slow = []
    try:
        for _ in range(24):
            connection = socket.create_connection((host, int(port)))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            connection.sendall(request)
            slow.append(connection)
        assert served.get("/dicomweb/studies?limit=1").status_code == 200
        assert served.get(f"{study}/metadata").status_code == 200
    finally:
        for connection in slow:
            connection.close()


@pytest.mark.slow
def test_fifty_clients_at_once(served: Served) -> None:
    image = find_image(served)
    paths = ["/dicomweb/studies?limit=20", f"{image.split('/series')[0]}/metadata", f"{image}/rendered"]
    expected = [served.get(path).content for path in paths]

    def ask(number: int) -> bool:
        path = number % len(paths)
        response = served.get(paths[path])
        return response.status_code == 200 and response.content == expected[path]

    with ThreadPoolExecutor(50) as pool:
        assert all(pool.map(ask, range(150)))
