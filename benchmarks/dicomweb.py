"""Measures DICOMweb beside Orthanc (Debian's orthanc and orthanc-dicomweb) with the same files and the same client.

    python -m benchmarks.dicomweb [--patients 40] [--folder .benchmarks] [--rounds 60]

Both servers run at once and are asked in turn, so that a drifting machine is fair to both. The sample has CT series of
300 slices added, made of one of its own.
"""

import argparse
import contextlib
import http.client
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pydicom

import warehouse
from benchmarks.results import Recorder, Row
from warehouse import synthetic

_SLICES = 300
_CLIENTS, _TIMES = 50, 5
_PLUGIN = "libOrthancDicomWeb.so"
#: The study of a large series; further ones, whose metadata are asked for once.
_STUDY, _FURTHER = "2.25.300", [f"2.25.{number}" for number in range(301, 308)]
#: What both are asked for, by what is measured: 100 studies; those of some patients; CT of a year.
SEARCHES = {
    "100 studies": "/studies?limit=100",
    "100 studies of patients by wildcard": "/studies?PatientID=Covid1*&limit=100",
    "100 studies by date and modality": "/studies?StudyDate=20200601-20210531&ModalitiesInStudy=CT&limit=100",
    "series of a study": f"/studies/{_STUDY}/series",
}
METADATA = "/studies/{study}/series/{study}.1/metadata"


def main() -> None:
    """Measure and save."""
    words = argparse.ArgumentParser()
    words.add_argument("--patients", type=int, default=40)
    words.add_argument("--folder", type=Path, default=Path(".benchmarks"))
    words.add_argument("--rounds", type=int, default=60)
    given = words.parse_args()
    folder = given.folder.resolve() / f"dicomweb-{given.patients}"
    make_data(folder, given.patients)
    Recorder("dicomweb").save(measure(folder, given.patients, given.rounds))


def measure_sample(folder: Path) -> None:
    """Measure 40 patients and save, if Orthanc is installed."""
    if not all(find_orthanc()):
        print("Orthanc is not installed: DICOMweb is not measured", file=sys.stderr)
        return
    make_data(folder / "dicomweb-40", 40)
    Recorder("dicomweb").save(measure(folder / "dicomweb-40", 40, 60))


def make_data(folder: Path, patients: int) -> None:
    """A bucket of real DICOM files and its lake, made once."""
    if (folder / "lake").is_dir():
        return
    bucket = folder / "bucket"
    shutil.rmtree(bucket, ignore_errors=True)
    synthetic.make_bucket(bucket, patients, seed=1)
    for study in (_STUDY, *_FURTHER):
        add_series(bucket, study)
    warehouse.refresh(str(bucket), str(folder / "lake"))


def add_series(bucket: Path, study: str) -> None:
    """Add a CT series of 300 slices, the one of a study and a patient."""
    model = next(path for path in sorted(bucket.glob("training/*/images/*/*.dcm")) if _is_ct(path))
    header = json.loads(Path(str(model).replace("/images/", "/images_metadata/")).with_suffix(".json").read_text())
    dataset = pydicom.dcmread(model)
    patient = f"Covid{study.rpartition('.')[2]}"
    places = [bucket / "training" / patient / part / "2021-01-01" for part in ("images", "images_metadata")]
    for place in places:
        place.mkdir(parents=True)
    for number in range(1, _SLICES + 1):
        values = {
            "00080018": ("SOPInstanceUID", f"{study}.1.{number}"),
            "0020000D": ("StudyInstanceUID", study),
            "0020000E": ("SeriesInstanceUID", f"{study}.1"),
            "00200013": ("InstanceNumber", number),
            "00100020": ("PatientID", patient),
        }
        for tag, (keyword, value) in values.items():
            setattr(dataset, keyword, value)
            header[tag] = {"vr": dataset[keyword].VR, "Value": [value]}
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(places[0] / f"{number}.dcm")
        (places[1] / f"{number}.json").write_text(json.dumps(header))


def _is_ct(path: Path) -> bool:
    return str(pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Modality"]).get("Modality")) == "CT"


def measure(folder: Path, patients: int, rounds: int) -> list[Row]:
    """Searches, metadata, and 50 clients at once."""
    rows: list[Row] = []
    with serve_chest(folder / "lake") as ours, serve_orthanc(folder / "bucket") as theirs:
        for name, path in SEARCHES.items():
            rows.append(_compare(name, patients, [path], ours, theirs, rounds, 50))
        studies = [study["0020000D"]["Value"][0] for study in json.loads(ours()(f"/studies?limit={rounds + 1}"))]
        each = [f"/studies/{study}/series" for study in studies]  # an answer that was given before is remembered
        rows.append(_compare("series of a study, of each once", patients, each, ours, theirs, len(each) - 1, 50))
        again, once = ([METADATA.format(study=study) for study in studies] for studies in ([_STUDY], _FURTHER))
        name = f"metadata of {_SLICES} slices"
        rows.append(_compare(name, patients, again, ours, theirs, rounds // 6, 300))
        rows.append(_compare(f"{name}, of each once", patients, once, ours, theirs, len(once) - 1, 300))
        n_failed, rate = _ask_at_once(ours, SEARCHES["100 studies"])
        _, other = _ask_at_once(theirs, SEARCHES["100 studies"])
        name, note = f"{_CLIENTS} clients at once", f"{n_failed} errors"
        row = Row(name, "searches/s", [rate], "Orthanc", [other], "ratio >= 3", {"patients": patients}, note)
        rows.append(row)
    return rows


Ask = Callable[[str], bytes]


def _compare(
    name: str,
    patients: int,
    paths: list[str],
    ours: Callable[[], Ask],
    theirs: Callable[[], Ask],
    rounds: int,
    most: int,
) -> Row:
    sides = (ours(), theirs())
    counts = [len(json.loads(ask(paths[0]) or b"[]")) for ask in sides]
    times: tuple[list[float], list[float]] = ([], [])
    print(f"{name} …", file=sys.stderr)
    for number in range(1, rounds + 1):
        path = paths[number % len(paths)]
        for ask, seconds in zip(sides, times, strict=True):
            start = time.perf_counter()
            ask(path)
            seconds.append(1000 * (time.perf_counter() - start))
    note = "" if counts[0] == counts[1] else f"{counts[0]} and {counts[1]} results"
    target = f"value < {most} and ratio <= 0.333"
    return Row(name, "ms", times[0], "Orthanc", times[1], target, {"patients": patients}, note)


def _ask_at_once(connect: Callable[[], Ask], path: str) -> tuple[int, float]:
    """Errors, and searches a second, of many clients that ask five times each."""

    def ask_often(_: int) -> int:
        ask, found = connect(), 0
        for _ in range(_TIMES):
            with contextlib.suppress(OSError):
                ask(path)
                found += 1
        return found

    start = time.perf_counter()
    with ThreadPoolExecutor(_CLIENTS) as pool:
        answered = sum(pool.map(ask_often, range(_CLIENTS)))
    return _CLIENTS * _TIMES - answered, answered / (time.perf_counter() - start)


def _connect(port: int, root: str, headers: dict[str, str]) -> Ask:
    """What asks on a connection of its own, which stays open."""
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def ask(path: str) -> bytes:
        try:
            connection.request("GET", root + path, headers={"Accept": "application/dicom+json", **headers})
            response = connection.getresponse()
        except http.client.RemoteDisconnected:  # idle for too long, while the other was asked
            connection.close()
            connection.request("GET", root + path, headers={"Accept": "application/dicom+json", **headers})
            response = connection.getresponse()
        body = response.read()
        if response.status >= 300:
            raise OSError(f"{path}: {response.status} {body[:200]!r}")
        return body

    return ask


@contextlib.contextmanager
def serve_chest(lake: Path) -> Iterator[Callable[[], Ask]]:
    """`chest serve` in a process of its own."""
    words = ["serve", "--lake", str(lake), "--port", "0", "--log", f"{lake}.requests.log"]
    command = [sys.executable, "-c", "from warehouse.cli import main; main()", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        address, _, token = process.stdout.readline().split(" at ")[1].strip().partition("/?token=")
        port = int(address.rpartition(":")[2])
        try:
            yield lambda: _connect(port, "/dicomweb", {"Authorization": f"Bearer {token}"})
        finally:
            process.terminate()


def find_orthanc() -> tuple[str, str]:
    """Orthanc's program and its plugin for DICOMweb; "" where they are not installed."""
    plugins = sorted(Path("/usr").glob(f"*/orthanc/**/{_PLUGIN}"))
    return shutil.which("Orthanc") or "", str(plugins[0]) if plugins else ""


@contextlib.contextmanager
def serve_orthanc(bucket: Path) -> Iterator[Callable[[], Ask]]:
    """Orthanc with the files of a bucket."""
    program, plugin = find_orthanc()
    if not program or not plugin:
        raise SystemExit("Orthanc is not installed:  apt-get install orthanc orthanc-dicomweb")
    port = 18_042
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "StorageDirectory": f"{folder}/storage",
            "IndexDirectory": f"{folder}/storage",
            "HttpPort": port,
            "DicomServerEnabled": False,
            "AuthenticationEnabled": False,
            "RemoteAccessAllowed": False,
            "KeepAlive": True,
            "HttpThreadsCount": 50,
            "Plugins": [plugin],
            "DicomWeb": {"Enable": True, "StudiesMetadata": "MainDicomTags", "SeriesMetadata": "Full"},
        }
        path = Path(folder) / "orthanc.json"
        path.write_text(json.dumps(settings))
        with subprocess.Popen([program, str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                _upload(port, bucket)
                yield lambda: _connect(port, "/dicom-web", {})
            finally:
                process.terminate()


def _upload(port: int, bucket: Path) -> None:
    """Store the .dcm files of training, once the server listens."""
    for _ in range(600):
        with contextlib.suppress(OSError):
            _connect(port, "", {})("/system")
            break
        time.sleep(0.1)
    paths = sorted(bucket.glob("training/*/images/*/*.dcm"))
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for path in paths:
        connection.request("POST", "/instances", body=path.read_bytes())
        connection.getresponse().read()


if __name__ == "__main__":
    main()
