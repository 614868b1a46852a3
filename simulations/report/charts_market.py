"""Pictures of the debt market's report."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fedrepay.simulations.report.svg import (
    circle,
    element,
    line,
    picture,
    rectangle,
    scale,
    short,
    text,
    ticks,
)
from fedrepay.simulations.report.words import count, percent
from fedrepay.simulations.report.words_market import change, change_span


@dataclass(frozen=True)
class Gain:
    """One member's line: value alone and shared (parts of the balance), the gain (shared ÷ alone − 1), its interval or None."""

    name: str
    offers: int
    alone: float
    shared: float
    gain: float
    interval: tuple[float, float] | None

    @property
    def kind(self) -> str:
        """The class it is drawn with: losers are red."""
        return "loss" if self.gain < 0 else "accent"


def gains(members: Sequence[Gain]) -> Markup:
    """One line a member: value alone → shared in words, the gain as a dot with its 95 % interval, losers red."""
    width, top, pitch = 956, 44, 28
    height = top + pitch * len(members) + 10
    ends = [end for each in members for end in (*(each.interval or ()), each.gain)]
    low, high = min(-0.02, *ends), max(0.02, *ends)
    edge = 0.04 * (high - low)
    x = scale(low - edge, high + edge, 330, 770)
    bottom = height - 8
    parts = [
        text(0, 16, "member", "muted"),
        text(142, 16, "offers", "muted", "end"),
        text(300, 16, "value alone → together", "muted", "end"),
        text(
            width,
            16,
            "gain [95 % interval]" if any(each.interval for each in members) else "gain",
            "muted",
            "end",
        ),
    ]
    for tick in ticks(low - edge, high + edge, 8):
        parts += [
            line(x(tick), top - 10, x(tick), bottom, "zero" if abs(tick) < 1e-12 else "grid"),
            text(
                x(tick), top - 16, change(tick, 0 if round(1000 * tick) % 10 == 0 else 1), "muted", "middle"
            ),
        ]
    for i, each in enumerate(members):
        y = top + pitch * (i + 0.5)
        a, b = each.interval or (min(each.gain, 0.0), max(each.gain, 0.0))
        clear = "loss" if b < 0 else "sure" if a > 0 else None
        look = (clear if each.interval else None) or ("lean" if each.gain < 0 else "gain")
        said = f"{change(each.gain)} {change_span(each.interval)}".strip()
        parts += [
            text(0, y + 4, short(each.name, 12), "name"),
            text(142, y + 4, count(each.offers), "muted", "end"),
            text(300, y + 4, f"{percent(each.alone, 2)} → {percent(each.shared, 2)}", "number", "end"),
            *([line(x(a), y, x(b), y, f"interval {each.kind}")] if each.interval else []),
            line(x(0), y, x(each.gain), y, f"way {each.kind}"),
            circle(x(each.gain), y, 4.6, f"dot {each.kind}", element("title", f"{each.name}: {said}")),
            text(width, y + 4, said, look, "end"),
        ]
    return picture("What learning together brought each member, smallest first", width, height, *parts)


def ladder(rows: Sequence[tuple[str, float, float]]) -> Markup:
    """One bar a way of choosing: (label, value, uplift); grey is what comes in without any plan."""
    width, left, right, pitch, top = 956, 250, 110, 30, 8
    height = top + pitch * len(rows)
    most = max((value for _, value, _ in rows), default=0) or 1
    x = scale(0, most, left, width - right)
    parts = []
    for i, (label, value, uplift) in enumerate(rows):
        y = top + pitch * i
        middle = min(max(value - uplift, 0), value)
        told = f"{label}: {percent(value, 2)}, of which {percent(uplift, 2)} uplift"
        parts += [
            text(left - 14, y + 18, short(label, 34), "name", "end"),
            rectangle(left, y + 5, max(x(middle) - left, 0), 18, "bar base"),
            rectangle(x(middle), y + 5, max(x(value) - x(middle), 1), 18, "bar", element("title", told)),
            text(max(x(value), x(middle)) + 10, y + 18, percent(value, 2), "number"),
        ]
    return picture(
        "Value of each way of choosing plans, parts of the balance, mean over members", width, height, *parts
    )
