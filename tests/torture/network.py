"""A bucket on S3 that fails, breaks off, lies and forgets; a refresh ends equal to a calm one, or clearly."""

import contextlib
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from faulty import (
    Fault,
    Faulty,
    alter_byte,
    answer_with,
    cut_off,
    drip,
    hold_body,
    is_page,
    lengthen_body,
    recall_page,
    repeat_page,
    reset_connection,
    serve_faulty,
    shorten_body,
)
from servers import serve_rclone

from .lakes import World, find_differences, list_unexplained, make_calm, require_equal, write_first_state
from .starter import Starter
from .verdicts import CLEAR, EQUAL, HEALED, Verdict

RATES = (1, 10, 30)
#: Faults of single requests, by name.
_PASSING: dict[str, Fault] = {
    "503": answer_with(503, "SlowDown"),
    "500": answer_with(500, "InternalError"),
    "reset": reset_connection,
    "body cut off": cut_off,
    "short body": shorten_body,
    "long body": lengthen_body,
    "altered body": alter_byte,
    "slow body": drip,
    "held body": hold_body,
}
#: Those of the listing alone.
_OF_PAGES: dict[str, Fault] = {"stale page": recall_page, "doubled page": repeat_page}
#: Those that an object keeps.
_OF_OBJECTS: dict[str, Fault] = {"403": answer_with(403, "AccessDenied"), "404": answer_with(404, "NoSuchKey")}
_EXPIRED = answer_with(400, "ExpiredToken")

KINDS = (*_PASSING, *_OF_PAGES, *_OF_OBJECTS, "expired credentials")
#: Objects in a page of the listing, so that a small bucket has several.
_PAGE_SIZE = 8


def make_plan(kind: str, rate: int, seed: int) -> Callable[[str], Fault | None]:
    """Which request fails: the same for a seed, in whatever order requests arrive; and one of the first in any case."""
    asked: Counter[str] = Counter()
    expired: list[bool] = []
    chosen: set[str] = set()
    certain = random.Random(f"{seed}/{kind}/{rate}").randrange(3 if kind in _OF_PAGES else 12)

    def is_drawn(*what: object) -> bool:
        name = "/".join(map(str, what))
        asked["all"] += 1
        if asked["all"] == certain + 1:
            chosen.add(name)
        return name in chosen or random.Random(f"{seed}/{kind}/{name}").random() < rate / 100

    def choose(path: str) -> Fault | None:
        key = path if is_page(path) else path.partition("?")[0]
        asked[key] += 1
        if kind in _OF_OBJECTS:
            return _OF_OBJECTS[kind] if "list-type" not in path and is_drawn(key) else None
        if kind == "expired credentials":
            if expired or is_drawn(key, asked[key]):
                expired.append(True)
            return _EXPIRED if expired else None
        if kind in _OF_PAGES and not is_page(path):
            return None
        return {**_PASSING, **_OF_PAGES}[kind] if is_drawn(key, asked[key]) else None

    return choose


@contextlib.contextmanager
def open_world(root: Path, starter: Starter, seed: int) -> Iterator[tuple[World, Faulty]]:
    """The calm lakes of a bucket on S3, and the proxy before it, which knows the pages of the first state."""
    bucket = root / "served/chest"
    bucket.parent.mkdir(parents=True)
    write_first_state(bucket, seed)
    with serve_rclone(bucket.parent, "--dir-cache-time", "0s") as server, serve_faulty(server) as proxy:
        proxy.page_size = _PAGE_SIZE
        proxy.is_recording = True
        env = {**proxy.s3.environment, "CHEST_REQUEST_SECONDS": "1"}

        def forget() -> None:
            proxy.is_recording = False

        yield make_calm(root / "s3", starter, "s3://chest", bucket, env, forget), proxy


def torture(world: World, proxy: Faulty, kind: str, rate: int, seed: int, env: dict[str, str] | None = None) -> Verdict:
    """One refresh with faults, from the lake of the first state, and one without; `env` is for the first."""
    with world.folder() as folder:
        lake = world.first.copy(folder / "lake")
        proxy.follow(make_plan(kind, rate, seed))
        try:
            more = () if kind in _OF_PAGES else ("--full",)  # so that all objects are asked for
            done = world.run(*world.refresh_words(lake, *more), env=env)
            note = f"{proxy.failed} of {proxy.asked} requests failed"
        finally:
            proxy.follow(None)
        if done.code:
            assert done.is_clear, str(done)
            world.require_seen(lake)
        else:
            unexplained = list_unexplained(lake)
            assert not unexplained, f"neither loaded nor rejected: {unexplained}"
            if not find_differences(lake, world.second, refreshes="none" if more else "rows"):
                return Verdict(EQUAL, note)
        last = done.err.strip().splitlines()[-1][:160] if done.code else done.out.strip().splitlines()[-1][:160]
        world.must(*world.refresh_words(lake))
        require_equal(lake, world.second, refreshes="none" if more else "sums")
        return Verdict(CLEAR if done.code else HEALED, f"{note}; {last}")
