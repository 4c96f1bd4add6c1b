"""
C{/metrics}: the numbers of the moment in the text form of Prometheus, made when they are asked for.

Nothing is counted here: what counts keeps plain integers, and L{INodeFacade.samples} reads them.  The process's own
numbers (C{process_*}: memory, CPU seconds, files) are those that every Prometheus client has.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector
from twisted.web.resource import Resource

from ethp2p.web.facade import INodeFacade, Sample
from ethp2p.web.http import BoundedRequest, page

#: The names a label can have.  None is for a peer, an address or a hash: each would be a series for ever.
LABELS = frozenset(
    ("action", "by", "cause", "client", "dir", "kind", "message", "proto", "reason", "result", "rule", "scope", "stage")
)
#: Most series of one name.  Where a label's values come from peers, they may not make ever more of them.
MAX_SERIES = 200


class Numbers(Collector):
    """
    A node's samples as families of series.
    """

    def __init__(self, facade: INodeFacade) -> None:
        self._facade = facade

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        """
        Series beyond L{MAX_SERIES} of one name are left out, and counted.

        @raise ValueError: a label is not in L{LABELS}.
        """
        families: dict[str, list[Sample]] = {}
        left_out = 0
        for sample in self._facade.samples():
            series = families.setdefault(sample.name, [])
            if len(series) < MAX_SERIES:
                series.append(sample)
            else:
                left_out += 1
        for series in families.values():
            yield _family(series)
        yield GaugeMetricFamily("ethp2p_series_left_out", "Series of this scrape over the limit.", value=left_out)


def _family(series: list[Sample]) -> CounterMetricFamily | GaugeMetricFamily:
    first = series[0]
    labels = list(first.labels)
    strange = set(labels) - LABELS
    if strange:
        raise ValueError(f"{first.name}: {', '.join(sorted(strange))} is no label of ours")
    kind = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}[first.kind]
    family: CounterMetricFamily | GaugeMetricFamily = kind(f"ethp2p_{first.name}", first.help, labels=labels)
    for sample in series:
        family.add_metric([str(sample.labels[label]) for label in labels], sample.value)
    return family


class Metrics(Resource):
    """
    One page, read on the reactor's thread.
    """

    def __init__(self, facade: INodeFacade) -> None:
        super().__init__()
        self._registry = CollectorRegistry()
        self._registry.register(Numbers(facade))
        ProcessCollector(registry=self._registry)

    def render_GET(self, request: BoundedRequest) -> bytes:
        """All of it."""
        return page(request, b"text/plain; version=0.0.4; charset=utf-8", generate_latest(self._registry))
