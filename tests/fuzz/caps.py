"""
What a service keeps, and the named number that bounds each of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ethp2p.discovery import database, gate, protocol, sources
from ethp2p.discovery.service import DiscoveryService
from ethp2p.discv4 import limits as limits4
from ethp2p.discv5 import limits as limits5
from ethp2p.enode import vote
from ethp2p.kademlia import driver, lookup, table

#: What is kept, how much of it there is, and the most there may be.
Measure = tuple[str, int, int]

#: Lookups that a driver has under way: those that others wait for, and its own.
_SEARCHES = driver.MAX_LOOKUPS + 1
#: Questions that these have under way.
_QUERIES = _SEARCHES * lookup.ALPHA
_ENTRIES = table.BUCKETS * table.BUCKET_SIZE
_REPLACEMENTS = table.BUCKETS * table.MAX_REPLACEMENTS
#: Most nodes in a packet of 1,280 bytes, a node without an address having 70.
_TOLD_AT_ONCE = limits4.MAX_PACKET // 70


def measures(service: DiscoveryService) -> Iterator[Measure]:
    """All that strangers can make it keep."""
    yield "gate.sources", len(service.sockets.gate), gate.MAX_SOURCES
    yield "sockets.routes", len(service.sockets._routes), protocol.MAX_ROUTES
    news = service.keeper.database
    yield "database.pending", len(news._news) + len(news._forgotten), database.MAX_PENDING
    for family, endpoint in service.local._endpoints.items():
        yield f"votes{family}", len(endpoint.vote._statements), vote.MAX_STATEMENTS
        yield f"votes{family}.endpoints", len(endpoint.vote._counts), vote.MAX_STATEMENTS
        yield f"contacts{family}", len(endpoint.vote._contacts), vote.MAX_CONTACTS
    for source in service._lookups.values():
        yield f"{source.name}.found", len(source._found), sources.MAX_FOUND
        yield f"{source.name}.recent", len(source._recent), sources.MAX_RECENT
    for speaker in service.speakers:
        for name, size, cap in _driver(speaker.driver):
            yield f"{speaker.name}.{name}", size, cap
        engine = _engine4(speaker.engine) if speaker is service.v4 else _engine5(speaker.engine)
        for name, size, cap in engine:
            yield f"{speaker.name}.{name}", size, cap


def rows(service: DiscoveryService) -> Measure:
    """The node database, which takes longer to look at."""
    [[count]] = service.keeper.database._db.execute("SELECT count(*) FROM nodes")
    return "database.nodes", count, database.MAX_NODES


def _driver(of: Any) -> Iterator[Measure]:
    yield "events", len(of._events), driver.MAX_EVENTS + driver.MAX_WAITING_LOOKUPS
    # Of a node that has gone the check is still under way, so the table alone does not bound them.
    yield "errands", len(of._errands), _QUERIES + driver.MAX_RECORD_REQUESTS + _ENTRIES
    yield "questions", len(of._engine._questions), _QUERIES
    yield "searches", len(of._searches), _SEARCHES
    yield "waiting", len(of._waiting), driver.MAX_WAITING_LOOKUPS
    yield "early", len(of._early), driver.MAX_EARLY
    yield "wanted", len(of._wanted), driver.MAX_WANTED_RECORDS
    yield "requested", len(of._requested), driver.MAX_RECORD_REQUESTS
    yield "recordless", len(of._recordless), driver.MAX_RECORDS
    yield "known", len(of._known), driver.MAX_RECORDS
    yield "revalidator", len(of._revalidator), _ENTRIES
    yield "table", len(of.table), _ENTRIES
    yield "table.waiting", len(of.table._waiting), _REPLACEMENTS
    counts = of.table._subnets._counts
    yield "table.subnets", len(counts), _ENTRIES + _REPLACEMENTS
    yield "table.subnet", max(counts.values(), default=0), table.MAX_SUBNET_IN_TABLE
    for bucket in of.table.buckets:
        yield "bucket", len(bucket.entries), table.BUCKET_SIZE
        yield "bucket.waiting", len(bucket.replacements), table.MAX_REPLACEMENTS
        yield "bucket.subnet", max(bucket.subnets._counts.values(), default=0), table.MAX_SUBNET_IN_BUCKET
    for search in of._searches.values():
        paths = search.lookup._paths
        cap = lookup.MAX_QUERIES * len(paths) * lookup.MAX_ANSWER + table.BUCKET_SIZE + _ENTRIES
        yield "lookup.candidates", len(search.lookup._candidates), cap
        yield "lookup.queries", max(path.queries for path in paths), lookup.MAX_QUERIES


def _engine4(engine: Any) -> Iterator[Measure]:
    under_way = limits4.MAX_REQUESTS + limits4.MAX_PROOFS
    yield "events", len(engine._events), limits4.MAX_EVENTS + limits4.MAX_REQUESTS
    yield "unsent", len(engine._out), limits4.MAX_DATAGRAMS
    yield "requests", engine.requests, limits4.MAX_REQUESTS
    yield "proofs", engine.proofs, limits4.MAX_PROOFS
    yield "remotes", sum(map(len, engine._remotes.values())), under_way
    for line in engine._lines:
        yield "deadlines", len(line), under_way
    told = [len(remote.told) for at in engine._remotes.values() for remote in at.values()]
    yield "told", max(told, default=0), limits4.ANSWER_SIZE + _TOLD_AT_ONCE
    yield "bonds", len(engine.bonds), limits4.MAX_BONDS
    yield "bonds.hosts", len(engine.bonds._groups), limits4.MAX_BONDS
    yield "bonds.host", max(map(len, engine.bonds._groups.values()), default=0), limits4.MAX_BONDS_PER_HOST


def _engine5(engine: Any) -> Iterator[Measure]:
    yield "events", len(engine._events), limits5.MAX_EVENTS + limits5.MAX_CALLS
    yield "unsent", len(engine._out), limits5.MAX_UNSENT
    yield "sessions", len(engine._sessions), limits5.MAX_SESSIONS
    yield "nodes", len(engine._nodes), limits5.MAX_SESSIONS
    yield "verified", len(engine._verified), limits5.MAX_VERIFIED
    yield "challenges", len(engine._challenges), limits5.MAX_CHALLENGES
    calls = engine._calls
    yield "calls", len(calls), limits5.MAX_CALLS
    yield "calls.active", len(calls._active), limits5.MAX_CALLS
    yield "calls.waiting", sum(map(len, calls._waiting.values())), limits5.MAX_CALLS
    yield "calls.queue", max(map(len, calls._waiting.values()), default=0), limits5.MAX_QUEUE
    yield "nonces", len(calls._nonces), limits5.MAX_NONCES
    depth = 0
    for session in engine._sessions._entries.values():
        here = 1
        while (session := session.older) is not None:
            here += 1
        depth = max(depth, here)
    yield "sessions.older", depth, 2
