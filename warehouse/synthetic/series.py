"""Invents the series of a study: the attributes shared by their headers, and those of each image."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from warehouse.synthetic.headers import load_catalogue

Values = dict[str, object]
Series = tuple[Values, list[Values]]
"""The attributes shared by the headers of a series, by keyword, and those of each image."""


def _invent_xray_series(rng: random.Random) -> Iterator[Series]:
    """Draw one film or two, the second mostly in a separate series."""
    windows = ((2048, 4096), (1600, 2800), ([2048, 1850], [4096, 3100]))
    center, width = rng.choice(windows)
    shared: Values = {
        "SeriesDescription": rng.choice(load_catalogue()["series"]["xray"]),
        "ViewPosition": rng.choices(("AP", "PA", None), (62, 35, 3))[0],
        "KVP": rng.choice((80, 85.0, 90, 110, 125)),
        "XRayTubeCurrent": rng.choice((200, 250, 320, 400, 500)),
        "WindowCenter": center,
        "WindowWidth": width,
    }
    if rng.random() < 0.6:
        yield shared, [{}]
    elif rng.random() < 0.3:
        yield shared, [{}, {}]
    else:
        yield shared, [{}]
        yield shared, [{}]


def _invent_ct_series(rng: random.Random) -> Iterator[Series]:
    """Draw a scout, then reconstructions with a few slices each."""
    kvp, current = rng.choice((100, 120, 120, 140)), rng.randint(80, 520)
    spacing = round(rng.uniform(0.6, 0.95), 6)
    left, top = round(-256 * spacing, 3), round(-256 * spacing - rng.uniform(0, 40), 3)
    windows = ((40, 400), (-600, 1500), ([40, -600], [400, 1500]))
    for number in range(rng.choices((2, 3, 4), (35, 45, 20))[0]):
        kind, most = ("ct", 6) if number else ("scout", 2)
        thickness = rng.choice((0.625, 1, 1.25, 2.0, 3, 5))
        center, width = rng.choice(windows)
        shared: Values = {
            "SeriesDescription": rng.choice(load_catalogue()["series"][kind]),
            "KVP": kvp,
            "XRayTubeCurrent": current,
            "SliceThickness": thickness,
            "PixelSpacing": [spacing, spacing],
            "WindowCenter": center,
            "WindowWidth": width,
        }
        foot = rng.uniform(-420, -60)
        heights = [round(foot + thickness * n, 3) for n in range(rng.randint(1, most))]
        yield shared, [{"ImagePositionPatient": [left, top, z], "SliceLocation": z} for z in heights]


def _invent_mr_series(rng: random.Random) -> Iterator[Series]:
    """Draw a few cardiac series."""
    for _ in range(rng.randint(3, 5)):
        shared: Values = {
            "SeriesDescription": rng.choice(load_catalogue()["series"]["mri"]),
            "SliceThickness": rng.choice((6, 8.0)),
            "RepetitionTime": round(rng.uniform(2.5, 1200), 2),
            "EchoTime": round(rng.uniform(1.1, 80), 2),
        }
        heights = [round(rng.uniform(-90, 90), 3) for _ in range(rng.randint(2, 5))]
        yield shared, [{"ImagePositionPatient": [-170.0, -140.6, z], "SliceLocation": z} for z in heights]


SERIES: dict[str, Callable[[random.Random], Iterator[Series]]] = {
    "xray": _invent_xray_series,
    "ct": _invent_ct_series,
    "mri": _invent_mr_series,
}
"""The generators of series, by kind of study."""
