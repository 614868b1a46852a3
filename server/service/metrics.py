"""Metrics (Prometheus) and health of the coordinator, on loopback: counts, never names or contents."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from fedrepay.server.admission.registry import Registry
from fedrepay.server.service.standing import Teller
from fedrepay.shared.errors import FedrepayError, NetworkError

STATES = ("invited", "waiting", "admitted", "away", "left", "revoked")


class _Collected:
    """What the database says when it is asked."""

    def __init__(self, told: Teller, registry: Registry) -> None:
        self._told = told
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        standing = self._told.standing()
        counted = Counter(state for _, state in standing.members)
        members = GaugeMetricFamily("fedrepay_members", "Members by state.", labels=["state"])
        for state in STATES:
            members.add_metric([state], counted[state])
        yield members
        yield GaugeMetricFamily("fedrepay_run", "Number of the newest run.", value=standing.run)
        over = float(standing.state in ("done", "abandoned", "no run yet"))
        yield GaugeMetricFamily("fedrepay_run_over", "Whether it is over.", value=over)
        yield GaugeMetricFamily(
            "fedrepay_run_waiting", "Members that the run waits for.", value=len(standing.waiting)
        )
        yield GaugeMetricFamily("fedrepay_releases", "Releases so far.", value=len(standing.releases))
        ends = [each.ends for each in self._registry.members() if each.state == "admitted"]
        yield GaugeMetricFamily(
            "fedrepay_first_certificate_end_seconds",
            "When the first certificate of an admitted member ends.",
            value=min(ends, default=0.0),
        )


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Scrapes are no news."""


@contextmanager
def watched(told: Teller, registry: Registry, port: int) -> Iterator[int]:
    """Serve ``/metrics`` and ``/health`` on loopback; gives the port.

    Raises:
        NetworkError: the port is not to be had.
    """
    collected = CollectorRegistry()
    metrics = make_wsgi_app(collected)

    def answer(environ: Any, start: Any) -> Any:
        if environ["PATH_INFO"] == "/metrics":
            return metrics(environ, start)
        if environ["PATH_INFO"] != "/health":
            start("404 Not Found", [("Content-Type", "text/plain")])
            return [b"/metrics or /health\n"]
        try:
            told.standing()
        except FedrepayError as error:
            start("503 Service Unavailable", [("Content-Type", "text/plain; charset=utf-8")])
            return [error.cause.encode()]
        start("200 OK", [("Content-Type", "text/plain")])
        return [b"ok\n"]

    try:
        server = make_server("127.0.0.1", port, answer, handler_class=_Quiet)
    except OSError as error:
        raise NetworkError(
            f"Metrics cannot listen at 127.0.0.1:{port}: {error.strerror}.",
            "Choose another port in coordinator.toml, or stop what has it.",
        ) from error
    collected.register(_Collected(told, registry))
    thread = Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
