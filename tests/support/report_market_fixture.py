"""A made-up run of the debt market for the report's tests: recognisable figures, means that agree with the members'."""

from statistics import fmean
from typing import Any

from fedrepay.client.plans.deciding.settings import Settings
from support import report_fixture

SIZES = (400, 400, 1500, 5000)
WAYS = ("own", "own_affordable", "alone", "shared", "shared_own", "perfect", "oracle")
FIGURES = ("value", "uplift", "first_paid", "kept_90", "plans")
LEVEL = {
    "own": 0.2213,
    "own_affordable": 0.1721,
    "alone": 0.1817,
    "additive": 0.1809,
    "expert": 0.1817,
    "alone_value": 0.1818,
    "trees": 0.1803,
    "shared": 0.1931,
    "shared_own": 0.1937,
    "perfect": 0.2019,
    "oracle": 0.2047,
}
"""Value of the first member."""


def way(name: str, i: int) -> dict[str, Any]:
    value = LEVEL[name] + 0.0137 * i
    if name in ("shared", "shared_own") and i == 3:
        value -= 0.0171  # the last member loses
    careful = name != "own"
    return {
        "value": value,
        "uplift": value - 0.0873 - 0.003 * i,
        "first_paid": (0.2231 if careful else 0.1429) + 0.4 * (value - 0.18),
        "kept_90": (0.2647 if careful else 0.1723) + 0.4 * (value - 0.18),
        "plans": 0.5113 + 0.01 * i if careful else 1.0,
        "affordable": 0.9613 + 0.002 * i if careful else 0.4713 + 0.01 * i,
    }


def member(i: int, *, trees: bool = False) -> dict[str, Any]:
    ways = {name: way(name, i) for name in LEVEL if trees or name != "trees"}
    gain = ways["shared"]["value"] / ways["alone"]["value"] - 1
    return {
        "offers": SIZES[i % 4],
        "ways": ways,
        "balance": 151234.5 + 10321.0 * i,
        "gain": gain,
        "gain_interval": [gain - 0.0123, gain + 0.0117],
        "own_part": [False, i == 3],
    }


def market(*, trees: bool = False, preset: str = "mixed") -> dict[str, Any]:
    """The ``market`` part of metrics.json, as docs/metrics.md says."""
    members = {f"m{i + 1:02d}": member(i, trees=trees) for i in range(4)}
    known = [*WAYS, "trees"] if trees else list(WAYS)
    means = {
        name: {each: fmean(m["ways"][each][name] for m in members.values()) for each in known}
        for name in (*FIGURES, "affordable")
    }
    affordable = means.pop("affordable")
    gain = {name: means[name]["shared"] / means[name]["alone"] - 1 for name in ("value", "uplift")}
    money = fmean(
        (m["ways"]["shared"]["value"] - m["ways"]["alone"]["value"]) * m["balance"] for m in members.values()
    )
    return {
        "preset": preset,
        **means,
        "gain": {
            "value": gain["value"],
            "value_interval": [gain["value"] - 0.0311, gain["value"] + 0.0297],
            "uplift": gain["uplift"],
            "uplift_interval": [gain["uplift"] - 0.0613, gain["uplift"] + 0.0641],
            "money": money,
            "money_interval": [money - 71.0, money + 83.0],
        },
        "affordable_share": affordable["shared"],
        "affordable_share_own": affordable["own"],
        "affordable_by_class": {
            "none": {"accounts": 48, "plans": 0, "affordable": None, "value": 0.0728},
            "stated": {"accounts": 325, "plans": 141, "affordable": 0.9574, "value": 0.1582},
            "estimated": {"accounts": 216, "plans": 119, "affordable": 0.9412, "value": 0.1863},
            "verified": {"accounts": 211, "plans": 1290, "affordable": 0.9134, "value": 0.2122},
        },
        "affordable_by_band": [
            {"income": c, "from": low, "to": high, "accounts": n, "plans": p, "affordable": share}
            | {"interval": span, "value": value, "middle": middle}
            for c, low, high, n, p, share, span, value, middle in [
                ("stated", None, 0.02, 140, 0, None, None, 0.0811, 0.0862),
                ("stated", 0.15, 0.2, 61, 51, 0.9412, [0.8409, 0.9798], 0.2312, 0.2677),
                ("verified", 0.02, 0.06, 77, 901, 0.9045, [0.8836, 0.922], 0.1333, 0.1844),
                ("verified", 0.2, None, 88, 88, 0.9886, [0.9384, 0.998], 0.2965, 0.2966),
                ("estimated", 0.02, 0.06, 0, 0, None, None, None, None),
            ]
        ],
        "caution": {"all": -0.1177, "stated": -0.2181, "estimated": -0.0846, "verified": -0.0472},
        "if_verified": {
            "none": {"accounts": 48, "before": 0.0728, "after": 0.1886},
            "stated": {"accounts": 325, "before": 0.1582, "after": 0.1991},
        },
        "judged": {"regret": 0.0727, "ranked_right": 0.8313},
        "groups": [
            {"column": c, "group": g, "accounts": n, "alone": a, "shared": s, "plans": p}
            for c, g, n, a, s, p in [
                ("income_verified", "estimated", 216, 0.0977, 0.0986, 0.5509),
                ("income_verified", "none", 48, -0.0059, -0.0059, 0.0),
                ("income_verified", "stated", 325, 0.0706, 0.0731, 0.4338),
                ("income_verified", "verified", 211, 0.1112, 0.1162, 0.6114),
                ("employment", "not_working", 101, 0.0991, 0.0998, 0.5050),
                ("stage", "charged_off", 192, 0.0724, 0.0751, 0.4427),
                ("stage", "early", 132, 0.0933, 0.0897, 0.4924),
            ]
        ],
        "members": members,
    }


def metrics(mode: str = "distributed", **changes: Any) -> dict[str, Any]:
    """metrics.json of a market run."""
    found = report_fixture.metrics(members=4, mode=mode) | {"smallest_cohort": 5, "minimum_cohort": 3}
    for name in ("auc", "log_loss", "calibration"):
        del found[name]
    arguments = {"members": 4, "market": "mixed", "scale": 0.3, "accounts": 150, "settings": None}
    return {
        "market": market(**changes),
        **found,
        "arguments": arguments,
        "settings": Settings().model_dump(mode="json"),
        "outside_the_guarantee": [
            "market",
            "the attack's comparison with the truth",
            "seconds",
            "peak_rss_mb",
        ],
    }


def details() -> dict[str, Any]:
    """What the report gets beside metrics.json."""
    rows = report_fixture.details()
    other = [
        each | {"effect": [-0.5 * e for e in each["effect"]]}
        for each in rows["curves"]
        if each["kind"] == "feature"
    ]
    return {
        "title": "Debt market: which plan works for whom",
        "heads": {"first_paid": rows["curves"], "kept_90": other},
        "attack": rows["attack"],
    }
