"""A purge of a lake whose catalogue is in PostgreSQL: the same answers, and nothing in its dump or its files."""

from pathlib import Path

from servers import serve_postgres

import warehouse
from warehouse.lake import location, store
from warehouse.settings import Settings
from warehouse.synthetic import make_bucket
from warehouse.withdrawal import changing
from warehouse.withdrawal.purge import purge

GONE = ("Covid2",)


def remove_longer(text: str) -> str:
    return text.replace("Covid20", "").replace("Covid21", "")


def test_nothing_of_a_purged_patient_is_in_postgresql(tmp_path: Path) -> None:
    make_bucket(tmp_path / "bucket", 4)
    with serve_postgres() as server:
        server.run("create database chest")
        lake = server.address("chest", tmp_path / "data", schema="national")
        place = location.parse_address(lake)
        warehouse.refresh(str(tmp_path / "bucket"), lake)
        with store.open_writer(place, Settings()) as con:
            work = "update core.images set dcm_size = 1 where patient_id in ('Covid1', 'Covid2')"
            store.transact(con, "edit of Covid2", lambda: con.execute(work), published=True)
        changing.withdraw(place, Settings(), GONE)
        before = read_published(lake)
        assert "Covid2" in remove_longer(server.dump("chest"))
        done = purge(place, Settings(), GONE)
        assert done.holds, done.document["findings"]
        assert read_published(lake) == before
        assert "Covid2" not in remove_longer(server.dump("chest"))
        server.run("checkpoint", "chest")
        tables = server.run(
            "select string_agg(pg_relation_filepath(c.oid), ' ') from pg_class c join pg_namespace n "
            "on n.oid = c.relnamespace where n.nspname = 'national' and c.relkind in ('r', 'i', 't')",
            "chest",
        )
        folder = Path(server.run("show data_directory", "chest"))
        for name in tables.split():
            assert b"Covid2" not in (folder / name).read_bytes(), name
        assert not warehouse.refresh(str(tmp_path / "bucket"), lake).objects.added


def read_published(lake: str) -> dict[int, list[str]]:
    with warehouse.open(lake) as wh:
        published = [s.number for s in store.list_snapshots(wh.con) if s.is_published]
    found = {}
    for number in published:
        with warehouse.open(lake, snapshot=number) as opened:
            wh = opened.group("all")
            rows = [wh.sql(f"from {name}").fetchall() for name in ("images", "clinical", "patients", "core.images")]
            found[number] = sorted(str(row) for each in rows for row in each)
    return found
