"""The report's sentences and number formats."""

from collections.abc import Callable
from typing import Any

from fedrepay.shared.privacy.statement import HEADLINE

SMALL_COHORT = 5
_NUMBERS = {2: "two", 3: "three"}
NONE = "–"


def figure(value: float | None, digits: int = 4) -> str:
    """A number with a fixed count of decimals, a dash for null."""
    return NONE if value is None else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 4) -> str:
    """A number with its sign, unless it is shown as zero."""
    if value is None:
        return NONE
    shown = f"{value:+.{digits}f}"
    return shown[1:] if float(shown) == 0 else shown.replace("-", "−")


def general(value: float | None) -> str:
    """A number in as many digits as it needs, six at most."""
    return NONE if value is None else f"{value:.6g}".replace("e-0", "e-").replace("-", "−")


def count(value: float | None) -> str:
    """A whole number with thousands separated."""
    return NONE if value is None else f"{value:,.0f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share as per cent."""
    return NONE if value is None else f"{100 * value:.{digits}f}\u00a0%".replace("-", "−")


def interval(value: tuple[float, float] | None, digits: int = 4) -> str:
    """Two ends of an interval."""
    return "" if value is None else f"[{figure(value[0], digits)}, {figure(value[1], digits)}]"


def size(value: float) -> str:
    """Bytes in B, kB or MB (powers of 1,000), the largest unit of which there is a tenth."""
    for unit, factor in (("MB", 1e6), ("kB", 1e3)):
        if value >= factor / 10:
            return f"{value / factor:.2f} {unit}"
    return f"{value:.0f} B"


def seconds(value: float) -> str:
    """Seconds with as many decimals as their size deserves."""
    return f"{value:.0f} s" if value >= 100 else f"{value:.1f} s" if value >= 1 else f"{value:.3f} s"


FILTERS: dict[str, Callable[..., str]] = {
    "figure": figure,
    "signed": signed,
    "general": general,
    "number": count,
    "percent": percent,
    "interval": interval,
    "size": size,
    "seconds": seconds,
}


def _noise_of(metrics: dict[str, Any]) -> str:
    asked = metrics["arguments"]
    return "no noise" if asked["mode"] == "none" else f"the noise of ε = {asked['epsilon']:g}"


def banners(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """(headline, explanation) of everything that must be seen in red."""
    found = []
    privacy = metrics["privacy"]
    if metrics.get("engine") == "batched":
        found.append(
            (
                "No protocol ran: the sums were computed together",
                (
                    f"This run (engine “batched”) has the right sums and {_noise_of(metrics)}, for research. No key, mask, "
                    "ciphertext or signature was made, so nothing was protected between members, nothing is claimed, "
                    "no release was written, and no message was sent: counts of ciphertexts are those that the protocol would make."
                ),
            )
        )
    if privacy["mode"] == "none":
        found.append(
            (
                "Not private: no noise was added",
                (
                    "Mode “none” is a baseline to compare with. The members can read exact totals, nothing is "
                    "claimed for any customer, and “member score” and “member recommend” refuse its release."
                ),
            )
        )
    elif privacy["not_private"] == "seeded":
        found.append(
            (
                "Not private: the noise came from a seed",
                (
                    "Whoever knows the seed can take the noise away. Such runs are for tests and benchmarks; "
                    "“member score” and “member recommend” refuse their releases."
                ),
            )
        )
    elif privacy["not_private"] is not None and not found:
        found.append(
            (
                "Not private",
                f"Reason: {privacy['not_private']}. “member score” and “member recommend” refuse its release.",
            )
        )
    cohort = metrics["smallest_cohort"]
    if cohort < SMALL_COHORT:
        found.append(
            (
                f"Small cohort: only {cohort} members",
                (
                    f"What is left of the opened sum, after a member takes its own part away, belongs to only "
                    f"{cohort - 1} others. A network asks for {SMALL_COHORT} unless its members agree to fewer."
                ),
            )
        )
    return found


def protection(metrics: dict[str, Any]) -> str:
    """Whom the noise protects, in one sentence."""
    privacy = metrics["privacy"]
    if metrics["engine"] == "batched":
        return "No guarantee comes with this run: no protocol ran."
    if privacy["epsilon"] is None:
        return "No customer is protected by noise in this run."
    if privacy["mode"] == "local":
        return (
            f"Every {privacy['unit']} of one member is protected at ε = {privacy['epsilon']:g} ({_several(privacy)}) by "
            "its own institution's noise, whoever else shares what they know."
        )
    several = (
        f"up to {privacy['colluders']} members share" if privacy["colluders"] > 1 else "one member shares"
    )
    return (
        f"Every {privacy['unit']} of one member is protected at ε = {privacy['epsilon']:g} ({_several(privacy)}), also "
        f"if {several} everything with the coordinator."
    )


def _several(privacy: dict[str, Any]) -> str:
    """ε of a person at more members than one, as it stands beside ε wherever that is a headline."""
    found = privacy["epsilon_by_memberships"]
    said = [f"{_NUMBERS[number]} members at {general(found[str(number)])}" for number in HEADLINE]
    return f"a person at {', at '.join(said)}"


def retries(metrics: dict[str, Any]) -> str:
    """What void attempts cost."""
    if metrics["privacy"].get("retries_cost"):
        return str(metrics["privacy"]["retries_cost"])
    if metrics["engine"] == "batched":
        return "No attempt was sent, so none could be void."
    void = metrics["attempts_void"]
    if metrics["privacy"]["epsilon"] is None:
        return (
            f"{void} of {metrics['attempts']} attempts were void; without noise there is no budget to charge."
        )
    if not void:
        return "No attempt was void, so retries cost nothing."
    factor = metrics["privacy"].get("retry_noise_factor")
    cost = "" if factor is None else f"; the last sum's noise is {factor:.3f} times as wide as without them"
    return f"{void} of {metrics['attempts']} attempts were void and are charged{cost}."


def who_saw_what(metrics: dict[str, Any]) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """(who, what else it sees, [(yes, no or partly, why) for rows, update, sum, model])."""
    members, colluders = metrics["members"], metrics["privacy"]["colluders"]
    private = metrics["privacy"]["epsilon"] is not None
    never = ("no", "rows never leave you")
    model = ("yes", "the members' common model")
    sum_ = (
        "yes",
        f"under the noise of the other {members - 1} members" if private else "exact: there is no noise",
    )
    honest = (
        "yes",
        f"under the noise of {members - colluders} honest members" if private else "exact: there is no noise",
    )
    last = "under your own share of noise only" if private else "exact: there is no noise"
    if metrics["privacy"]["mode"] == "local":
        last = "under your own noise, which protects alone"
    hidden = ("no", f"your masks with {members - colluders - 1} honest members hold")
    if members - colluders == 1:
        hidden = ("yes", last)
    plural = "member" if colluders == 1 else "members"
    return [
        (
            "The coordinator",
            "who takes part, when, sizes, refusals",
            [never, ("no", "masked and encrypted"), ("no", "holds no key"), ("no", "sealed to the members")],
        ),
        (
            "One member",
            "its own rows and its own noise" if private else "its own rows",
            [never, ("no", "masked; only the sum is opened"), sum_, model],
        ),
        (
            f"The coordinator and {colluders} {plural}",
            "the same, and what those members know",
            [never, hidden, honest, model],
        ),
        (
            f"The coordinator and all {members - 1} other members",
            "everything but you",
            [never, ("yes", last), ("yes", "and can take its own part away"), model],
        ),
        (
            "An outsider on the line",
            "sizes and times",
            [never, ("no", "masked and encrypted"), ("no", "encrypted"), ("no", "sealed to the members")],
        ),
    ]
