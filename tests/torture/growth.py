"""Hundreds of small refreshes: the lake ends equal to one that loaded all at once, and its catalogue stays small."""

import json
import random
from pathlib import Path

from .lakes import World, keep_calm, require_equal, require_sound
from .verdicts import EQUAL, Verdict

#: What the catalogue may take for a refresh after maintenance, in bytes: its row of ops.refreshes and what merging and
#: recording of checksums leave. It took 13 kB when nothing gave free pages back.
_BYTES_OF_REFRESH = 2_000
#: Pages that maintenance itself adds, and that SQLite keeps free (a quarter).
_SLACK = 1.35


def torture(world: World, n_refreshes: int, seed: int) -> Verdict:
    """Add, replace or remove a record or two before each refresh; maintain in the middle and at the end."""
    chance = random.Random(f"growth/{seed}")
    with world.folder() as folder:
        bucket, lake = folder / "bucket", folder / "lake"
        sizes = []
        for number in range(n_refreshes):
            _change(bucket, number, chance)
            world.must("refresh", bucket, "--lake", lake, "-q", "--allow-removals")
            if number == 0:
                first = _measure(lake)
            if number in (n_refreshes // 2, n_refreshes - 1):
                grown = _measure(lake)
                world.must("maintain", "--keep-days", "0", "--lake", lake, "-q")
                sizes.append((grown, _measure(lake)))
        world.must("refresh", bucket, "--lake", folder / "calm", "-q")
        require_equal(lake, keep_calm(folder / "calm"), refreshes="none")
        require_sound(lake)
        (grown, half), (_, end) = sizes
        per_refresh = (grown - first) / max(1, n_refreshes // 2)
        limit = max(first, half) * _SLACK + _BYTES_OF_REFRESH * (n_refreshes / 2)
        assert end <= limit, f"the catalogue has grown to {end:,} bytes, from {half:,} after half of the refreshes"
        return Verdict(
            EQUAL,
            f"{per_refresh / 1000:.1f} kB a refresh; catalogue {first:,} bytes at first, after maintenance {half:,} "
            f"(half) and {end:,} (all {n_refreshes})",
        )


def _measure(lake: Path) -> int:
    return (lake / "catalog.sqlite").stat().st_size


def _change(bucket: Path, number: int, chance: random.Random) -> None:
    """One patient more; now and then one is replaced, or goes."""
    records = sorted(bucket.rglob("data.json"))
    if len(records) > 3 and chance.random() < 0.3:
        _write_record(chance.choice(records), number)
    if len(records) > 5 and chance.random() < 0.1:
        chance.choice(records).unlink()
    _write_record(bucket / f"training/Small{number}/data/2020-03-01/data.json", number)


def _write_record(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.relative_to(path.parents[3]).parts[0]
    path.write_text(json.dumps({"Pseudonym": name, "SwabStatus": "Negative", "Age": number % 90}), encoding="utf-8")
