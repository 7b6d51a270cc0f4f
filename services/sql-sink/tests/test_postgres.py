"""What is particular to PostgreSQL: its errors, its death, its partitions."""

from __future__ import annotations

import asyncio
from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import make_url

from tests.support.bus import eventually
from tests.support.postgres import CHECKED_PASSWORD, CHECKED_USER, PostgresServer, query
from tickloom_core.bus.reader import StreamIdentity
from tickloom_core.errors import PermanentError, TransientError
from tickloom_core.rows import read_symbols
from tickloom_core.wire import decode
from tickloom_sql_sink.database import NoPartitionError, RefusedRowsError
from tickloom_sql_sink.postgres import open_postgres
from tickloom_sql_sink.tables import TICKS

NOON_US = 1_795_262_400 * 10**6
DAY_US = 86_400 * 10**6
TODAY = NOON_US // DAY_US
STREAM = StreamIdentity("MARKETDATA", "2026-11-21T05:15:13.334000223Z")


@pytest.fixture
def own_server(tmp_path):
    """A server that the test may kill."""
    server = PostgresServer(tmp_path)
    server.start()
    yield server
    server.stop()


async def commit_until_done(store, chunk):
    """Write a chunk as the loop does, trying again while the server is away."""
    while True:
        try:
            return await store.write(chunk)
        except TransientError:
            await asyncio.sleep(0.05)


async def test_killed_in_the_middle_of_a_transaction(own_server, open_store, make_trades, make_chunk):
    """kill -9 of the server while it writes: nothing is half-committed, and the same chunk is stored once."""
    opened = await open_store(own_server.url)
    store = opened.store
    await opened.commit(make_chunk([make_trades(1)]))
    with closing(psycopg.connect(own_server.url)) as blocker:
        blocker.execute("LOCK TABLE ticks IN SHARE MODE")
        write = asyncio.create_task(store.write(make_chunk([make_trades(2), make_trades(3)], first=2)))
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'ticks'::regclass"
        await eventually(lambda: query(own_server.url, waiting) != [], what="a transaction that has begun")
        await asyncio.to_thread(own_server.kill)
        with pytest.raises(TransientError):
            await write
    await asyncio.to_thread(own_server.start)
    chunk = make_chunk([make_trades(2), make_trades(3)], first=2)
    assert (await store.open_partition(0, STREAM)).last_sequence == 1
    await commit_until_done(store, chunk)
    assert opened.read_ids() == [f"{n}-{row}" for n in (1, 2, 3) for row in range(3)]


async def test_killed_many_times(own_server, open_store, make_trades, make_chunk):
    """While the server is killed again and again, chunks whose answers were lost are neither lost nor doubled."""
    opened = await open_store(own_server.url)
    await opened.store.open_partition(0, STREAM)
    has_ended = asyncio.Event()

    async def write_all():
        for n in range(1, 31):
            await commit_until_done(opened.store, make_chunk([make_trades(n, 500)], first=n))
        has_ended.set()

    async def kill():
        while not has_ended.is_set():
            await asyncio.to_thread(own_server.kill)
            await asyncio.to_thread(own_server.start)
            await asyncio.sleep(0.3)

    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        group.create_task(write_all())
        group.create_task(kill())
    assert opened.read_ids() == sorted(f"{n}-{row}" for n in range(1, 31) for row in range(500))
    assert (await opened.store.open_partition(0, STREAM)).last_sequence == 30


async def test_a_row_that_only_the_server_refuses(postgres_url, open_store, make_trades, make_chunk):
    """A name too long for an index is found among thousands of rows, set aside with the server's words, and only it."""
    opened = await open_store(postgres_url)
    # Letters in no order: what compresses well would fit.
    name = "".join(chr(0x4E00 + n * 7919 % 20_000) for n in range(3000))
    batches = [make_trades(n, 1000) for n in range(1, 4)]
    await opened.commit(make_chunk([*batches, make_trades(4, 1, symbol=name), make_trades(5)]))
    (rejected,) = opened.set_aside
    assert read_symbols(decode(rejected.data)) == [name]
    assert "index row requires" in rejected.reason
    assert len(opened.read_ids()) == 3003


async def test_partitions_are_made_and_keep_their_width(postgres_url, open_store, make_trades, make_chunk):
    """A partition is as wide as the setting says and as its neighbours allow, also after the setting has changed."""
    narrow = await open_store(postgres_url)
    days = TODAY // 7 * 7 + 3
    await narrow.commit(make_chunk([make_trades(1, 1, at_us=days * DAY_US)]))
    wide = await open_store(postgres_url, partition_days=7)
    await wide.commit(make_chunk([make_trades(10 + n, 1, at_us=(days + n) * DAY_US) for n in (-1, 1, 2, 9)], first=2))
    bounds = query(
        postgres_url,
        "SELECT pg_get_expr(relpartbound, oid) AS bound FROM pg_class "
        "WHERE relname LIKE 'ticks\\_2%' AND relkind = 'r' ORDER BY 1",
    )
    widths = [_measure_days(bound) for (bound,) in bounds]
    assert widths == [3, 1, 3, 7]
    assert len(wide.read()) == 5


def _measure_days(bound):
    first, end = (datetime.fromisoformat(text[:10]) for text in bound.split("'")[1::2])
    return (end - first).days


async def test_partitions_made_by_two_at_once(postgres_url, open_store):
    """Processes that make the same partitions at the same time do not get into each other's way."""
    stores = [(await open_store(postgres_url)).store for _ in range(3)]
    await asyncio.gather(*(store.make_room(range(TODAY, TODAY + 5)) for store in stores))
    (count,) = query(postgres_url, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'ticks'::regclass")
    assert count == (5,)


async def test_a_partition_that_somebody_dropped(postgres_url, open_store, make_trades, make_chunk):
    """Rows whose partition is gone get a new one."""
    opened = await open_store(postgres_url)
    await opened.commit(make_chunk([make_trades(1)]))
    with psycopg.connect(postgres_url) as connection:
        connection.execute("DROP TABLE ticks_20261121")
    await opened.commit(make_chunk([make_trades(2)], first=2))
    assert opened.read_ids() == ["2-0", "2-1", "2-2"]


async def test_old_partitions_are_dropped_as_a_whole(postgres_url, open_store, make_trades, make_chunk):
    """Retention drops the partitions of which every row is too old, oldest first, and nothing else."""
    opened = await open_store(postgres_url)
    await opened.commit(make_chunk([make_trades(n, 1, at_us=NOON_US - n * DAY_US) for n in range(5)]))
    cutoff = datetime.fromtimestamp(NOON_US // 10**6, UTC) - timedelta(days=2)
    removed = []
    while (piece := await opened.store.remove_oldest(TICKS, cutoff)) is not None:
        removed.append(piece)
    assert [(piece.first.day, piece.last.day) for piece in removed] == [(17, 18), (18, 19)]
    assert opened.read_ids() == ["0-0", "1-0", "2-0"]


@pytest.mark.parametrize(
    ("user", "database", "words"),
    [
        ("nobody_knows", "postgres", "does not exist"),
        ("postgres", "nowhere", "does not exist"),
        (CHECKED_USER, "postgres", "authentication failed"),
    ],
)
async def test_a_server_that_refuses(user, database, words, postgres_server, open_store):
    """A user, database or password that the server does not know is for somebody to mend; no password is printed."""
    with psycopg.connect(postgres_server.url) as connection:
        connection.execute(f"DROP ROLE IF EXISTS {CHECKED_USER}")
        connection.execute(f"CREATE ROLE {CHECKED_USER} LOGIN PASSWORD '{CHECKED_PASSWORD}'")
    url = postgres_server.make_url(database, user=user).replace("@", ":wrong-secret@")
    with pytest.raises(PermanentError, match=words) as caught:
        await open_store(url)
    assert "sql_sink.url" in str(caught.value)
    assert "wrong-secret" not in str(caught.value)


async def test_a_server_that_does_not_answer(postgres_server, open_store):
    """A port on which nobody listens may have somebody later."""
    url = postgres_server.url.replace(str(postgres_server.port), "9")
    with pytest.raises(TransientError, match="does not answer"):
        await open_store(url)


async def test_a_user_without_rights(postgres_url, postgres_server, open_store, make_trades, make_chunk):
    """A user who may not make tables is told so."""
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS reader")
        connection.execute("CREATE ROLE reader LOGIN")
    with pytest.raises(PermanentError, match="permission denied for schema public"):
        await open_store(postgres_url.replace("postgres@", "reader@"))


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("08006", TransientError),
        ("25006", TransientError),
        ("40001", TransientError),
        ("40P01", TransientError),
        ("53100", TransientError),
        ("53300", TransientError),
        ("57P01", TransientError),
        ("57P03", TransientError),
        ("22021", RefusedRowsError),
        ("23502", RefusedRowsError),
        ("54000", RefusedRowsError),
        ("28P01", PermanentError),
        ("3D000", PermanentError),
        ("42501", PermanentError),
        ("42P01", PermanentError),
    ],
)
def test_fates(state, kind):
    """What passes is tried again, what rows are to blame for sets them aside, the rest is for somebody to mend."""
    database = open_postgres(make_url("postgresql+psycopg://postgres@127.0.0.1/x"), 1)
    assert type(database.classify(psycopg.errors.lookup(state)("said the server"))) is kind


def test_fate_of_a_row_without_a_partition():
    """A row that no partition takes asks for a partition."""
    database = open_postgres(make_url("postgresql+psycopg://postgres@127.0.0.1/x"), 1)
    error = psycopg.errors.CheckViolation('no partition of relation "ticks" found for row')
    assert type(database.classify(error)) is NoPartitionError
