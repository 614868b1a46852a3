"""One self-contained HTML page from ``metrics.json`` and the report's details."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from fedrepay.shared.privacy.statement import HEADLINE
from fedrepay.simulations.report import charts, words, words_market
from fedrepay.simulations.report.page_market import market_page
from fedrepay.simulations.report.page_rows import rows_page
from fedrepay.simulations.report.page_year import year_page


def environment() -> Environment:
    """Jinja2 that escapes all data and stops at a missing name."""
    made = Environment(
        loader=PackageLoader("fedrepay.simulations.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= words.FILTERS | words_market.FILTERS
    return made


def render(metrics: dict[str, Any], details: dict[str, Any]) -> str:
    """The report, readable offline: no script, no font, no picture from outside.

    Args:
        metrics: the contents of ``metrics.json`` (``docs/metrics.md``), of the market or of a table of rows.
        details: what ``market_page`` or ``rows_page`` asks for.

    Returns:
        HTML text.
    """
    name, page = ("market.html", market_page) if "market" in metrics else ("rows.html", rows_page)
    template = environment().get_template(name)
    return template.render(_run(metrics, details) | page(metrics, details))


def render_year(metrics: dict[str, Any]) -> str:
    """The report of a year, likewise.

    Args:
        metrics: the contents of ``metrics.json`` of ``fedrepay simulate --year``.
    """
    return environment().get_template("year.html").render(year_page(metrics))


def _run(metrics: dict[str, Any], details: dict[str, Any]) -> dict[str, Any]:
    """What ``base.html`` says of every run: banners, who saw what, costs, privacy, facts."""
    seconds = metrics["seconds"]
    return {
        "m": metrics,
        "d": details,
        "p": {"year": None} | metrics["privacy"],
        "several": HEADLINE,
        "banners": words.banners(metrics),
        "seconds_per_member": seconds.get("consortium", sum(seconds.values())) / metrics["members"],
        "stages": charts.bars(
            "Seconds by stage",
            [
                (stage, value, words.seconds(value))
                for stage, value in sorted(seconds.items(), key=lambda item: -item[1])
            ],
        ),
        "bytes": charts.bars(
            "Bytes of one member",
            [
                (label, metrics[key], words.size(metrics[key]))
                for label, key in (
                    ("sent: masked uploads", "bytes_up_per_member"),
                    ("sent: key ceremony", "bytes_ceremony_per_member"),
                    ("received", "bytes_down_per_member"),
                    ("the release", "bytes_release"),
                )
            ],
        ),
        "sight": words.who_saw_what(metrics),
        "retries": words.retries(metrics),
    }
