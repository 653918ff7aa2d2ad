"""What is wrong with the slices of some CT series: one missing, one doubled, or the gantry tilted.

Drawn from the UID of the series, so that nothing else of a bucket depends on it.
"""

from __future__ import annotations

import math
import random

from warehouse.synthetic.series import Values

EVEN, GAP, DOUBLED, TILTED, SINGLE = "even", "gap", "doubled", "tilted", "single"
LOCALIZER = "localizer"


def stack_slices(
    uid: str, shared: Values, instances: list[Values], *, clean: bool = False
) -> tuple[str, Values, list[Values]]:
    """What a CT series is: its kind, and what its headers then share and have of their own; a `clean` one is even."""
    if shared["SeriesDescription"] in ("Scout", "SCOUT AP/LAT", "Topogram 0.6 T20f"):
        return LOCALIZER, shared | {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, instances
    if len(instances) < 2:
        return SINGLE, shared, instances
    rng = random.Random(f"{uid}/stack")
    kind = rng.choices((EVEN, GAP, DOUBLED, TILTED), (80, 8, 7, 5))[0]
    if clean or len(instances) < 4:
        kind = EVEN
    places = [tuple(map(float, values["ImagePositionPatient"])) for values in instances]  # type: ignore[call-overload]
    step = places[1][2] - places[0][2]
    at = rng.randint(2, len(instances) - 2) if len(instances) > 3 else 0
    if kind == GAP:
        places = [(x, y, z + step * (n >= at)) for n, (x, y, z) in enumerate(places)]
    elif kind == DOUBLED:
        places = [(x, y, z - step * (n >= at)) for n, (x, y, z) in enumerate(places)]
    elif kind == TILTED:
        tilt = rng.choice((-20.0, -12.0, 8.0, 15.0))
        turned = [round(math.cos(math.radians(tilt)), 6), round(math.sin(math.radians(tilt)), 6)]
        shared = shared | {"GantryDetectorTilt": tilt, "ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, *turned]}
    if rng.random() < 0.4:
        places.reverse()  # scanned from feet to head, or named so
    stacked = [
        values | {"ImagePositionPatient": [x, y, round(z, 3)], "SliceLocation": round(z, 3)}
        for values, (x, y, z) in zip(instances, places, strict=True)
    ]
    return kind, shared, stacked
