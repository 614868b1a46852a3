"""One secure sum: our path through ``simulate`` and packed pairs beside CKKS, SPU and MPyC, all in one run.

CPU time of one member's whole round: from its integers to what it sends, and from the sum as it comes back to integers.
All ways add the same number of values; each is checked to open its sum.
"""

from dataclasses import dataclass
from statistics import median

from threadpoolctl import threadpool_limits

from fedrepay.shared.secure_sum.packing import GAM
from fedrepay.shared.trust.sums import packing
from fedrepay.simulations.bench.page import PEERS, SPU, table
from fedrepay.simulations.bench.peers.start import measured
from fedrepay.simulations.bench.peers.summed import BITS, MEMBERS, REPEATS, VALUES
from fedrepay.simulations.bench.secure_sum_ways import (
    EPSILON,
    OPEN,
    SEND,
    Ckks,
    Sealers,
    Spent,
    gram_noise,
    gram_terms,
)

MANY = {50: 5, 500: 2}
"""Larger cohorts, and how many attempts of each are timed; every member's sending is."""
BASELINE, STRAIGHT, GRAM, PAIRS = "ckks", "ckks c++", "gram", "pairs"
LABELS = {
    PAIRS: f"**ours**, as `simulate` takes it, with noise, two numbers a slot, K = {MEMBERS}",
    "pairs 50": "the same, K = 50",
    GRAM: f"**ours**, with noise, one number a slot, K = {MEMBERS}",
    "plain": f"the same without noise, K = {MEMBERS}",
    **{f"gram {members}": f"the same with noise, K = {members}" for members in MANY},
    BASELINE: "TenSEAL CKKS, NVFLARE's parameters (baseline)",
    STRAIGHT: "the same by TenSEAL's C++ vectors",
    "semi2k": f"SPU, SEMI2K, {MEMBERS} parties",
    "aby3": "SPU, ABY3, 3 servers",
    "mpyc": f"MPyC, Shamir, {MEMBERS} parties",
}
BYTES, ROUND = {1: 8.1, 2: 4.1}, {1: 0.40, 2: 0.25}
"""Most bytes a value, and most of CKKS' cost of a member's round, by fields a slot."""
GROWTH, COORDINATOR = 2.0, 0.15
"""Most that sending may grow from the first to the last of ``MANY``, and most of CKKS' cost of adding an upload."""


@dataclass(frozen=True)
class Way:
    """One way: bytes a value that a member sends, CPU-ms of its rounds, and of parts that were measured apart."""

    sent: float
    rounds: list[float]
    parts: dict[str, float]

    @classmethod
    def of(cls, spent: Spent) -> "Way":
        """With the median of every part."""
        return cls(spent.sent, spent.rounds, {part: median(each) for part, each in spent.parts.items()})

    def cost(self) -> float:
        """CPU-ms of a member's whole round."""
        return median(self.rounds)

    def together(self, parts: tuple[str, ...]) -> float:
        """CPU-ms of some parts."""
        return sum(self.parts[part] for part in parts)


def run() -> str:
    """Measure; returns the page's section (Markdown)."""
    with threadpool_limits(limits=1):
        found = _ours_and_ckks()
    for name, module, argument, peers in (
        ("semi2k", "spu_sum", "SEMI2K", SPU),
        ("aby3", "spu_sum", "ABY3", SPU),
        ("mpyc", "mpyc_sum", "shamir", PEERS),
    ):
        one = measured(module, argument, peers=peers)
        found[name] = Way(one["sent"], one["cpu_ms"], {})
        print(LABELS[name], f"{found[name].cost():.2f} CPU-ms", sep=" | ", flush=True)
    return body(found)


def _ours_and_ckks() -> dict[str, Way]:
    """The ways of this process, in turn; one round of each warms up."""
    ways: dict[str, Sealers | Ckks] = {
        GRAM: Sealers(MEMBERS, GAM, noise=True),
        "plain": Sealers(MEMBERS, GAM, noise=False),
        PAIRS: _gram(MEMBERS),
        BASELINE: Ckks(wrapped=True),
        STRAIGHT: Ckks(wrapped=False),
    }
    for way in ways.values():
        way.play()
        way.spent = Spent()
    for _ in range(REPEATS):
        for way in ways.values():
            way.play()
    larger = {
        f"gram {members}": (Sealers(members, GAM, noise=True), attempts) for members, attempts in MANY.items()
    }
    larger["pairs 50"] = (_gram(50), MANY[50])
    for name, (cohort, attempts) in larger.items():
        ways[name] = cohort
        for _ in range(attempts):
            cohort.play()
    for name, way in ways.items():
        print(LABELS[name], f"{median(way.spent.rounds):.2f} CPU-ms", sep=" | ", flush=True)
    return {name: Way.of(way.spent) for name, way in ways.items()}


def _gram(members: int) -> Sealers:
    """The first sum of ``simulate``: the Gram matrix, two numbers a slot where they fit."""
    return Sealers(members, packing(gram_terms(members), 0, members), noise=True)


def body(found: dict[str, Way]) -> str:
    """The section's text."""
    rows = []
    for name, label in LABELS.items():
        row, cost = found[name], found[name].cost()
        rows.append(
            (
                label,
                f"{row.sent:.2f}",
                f"{cost:.2f}",
                f"{min(row.rounds):.2f} … {max(row.rounds):.2f}",
                f"{1000 * cost / VALUES:.3f}",
                f"{cost / found[BASELINE].cost():.3f}",
                f"{cost / found[STRAIGHT].cost():.3f}",
            )
        )
    heads = (
        "Way",
        "bytes a value sent",
        "CPU-ms, a member's round",
        "lowest … highest",
        "CPU-µs a value",
        "ratio to CKKS",
        "ratio to CKKS, C++",
    )
    return "\n\n".join((_intro(), table(heads, rows), verdict(found), stages(found), _NOTE))


def _intro() -> str:
    width = gram_noise(MEMBERS).share_variance ** 0.5
    more = ", ".join(f"{attempts} with K = {members}" for members, attempts in MANY.items())
    return (
        f"{VALUES:,} values: as many as fill the ciphertexts that the Gram matrix of the shipped data takes. CPU time of "
        f"one member's whole round: integers in memory → noise, masks, encryption, tags, hashes, signature → bytes; and "
        f"the sum as it comes back → all signatures and the tag checked, decrypted, canaries checked → integers. Noise: each "
        f"member's share of the discrete Gaussian of that sum at ε = {EPSILON:g} ({width:.0f} grid units at K = {MEMBERS}; one "
        f"layer up to 1,024). Medians of {REPEATS} rounds in turn, one thread; of "
        f"{more}. Every member's sending is timed, and one opening a round. CKKS is "
        "TenSEAL with NVFLARE's default parameters (8192 [60, 40, 40], scale 2⁴⁰, symmetric), floats in memory → bytes and "
        "back. Store, budget and the round's message are left out on all sides."
    )


_NOTE = (
    "SPU and MPyC need no key that members share. They are semi-honest: a party can change the sum unseen, and every party must "
    "stay to the end. They add neither noise nor tags, and take the smallest ring or field that holds the sum (values of "
    f"{BITS} bits: 32 bits, and 2³¹ − 1). What all parties spend is divided by {MEMBERS} members. "
    "SPU's parties are threads of one process, so no network is charged; MPyC's are processes that talk on this machine."
)


def verdict(found: dict[str, Way]) -> str:
    """Whether the targets are reached."""
    base = found[BASELINE]
    lines = []
    for name, fields in ((GRAM, 1), (PAIRS, 2)):
        most, size = ROUND[fields], BYTES[fields]
        ratio = found[name].cost() / base.cost()
        lines += [
            (f"{LABELS[name]}: round ≤ {most:.2f} × CKKS", ratio, most, f"{ratio:.3f} ×"),
            (
                f"{LABELS[name]}: bytes a value ≤ {size}, CKKS {base.sent:.1f}",
                found[name].sent,
                size,
                f"{found[name].sent:.2f}",
            ),
        ]
    fewer, more = (found[f"gram {members}"].together(SEND) for members in MANY)
    lines.append(
        (
            f"sending from K = 50 to 500 grows ≤ {GROWTH:g} ×",
            more / fewer,
            GROWTH,
            f"{more / fewer:.2f} ×: all but the masks costs a quarter of what it did, so they show",
        )
    )
    share = found[GRAM].parts["add"] / base.parts["add"]
    lines.append(
        (f"the coordinator's part of an upload ≤ {COORDINATOR} × CKKS", share, COORDINATOR, f"{share:.3f} ×")
    )
    return "\n".join(
        f"- {what}: {'reached' if value <= most else '**falls short**'}, {said}"
        for what, value, most, said in lines
    )


def stages(found: dict[str, Way]) -> str:
    """Where a round of ours goes, by members."""
    names = (GRAM, *(f"gram {members}" for members in MANY))
    rows = [
        (part, *(f"{1000 * found[name].parts[part] / VALUES:.4f}" for name in names))
        for part in (*SEND, *OPEN, "add")
    ]
    heads = ("CPU-µs a value", *(f"K = {members}" for members in (MEMBERS, *MANY)))
    return (
        table(heads, rows) + "\n\n*add*: the coordinator's, a parsed upload, without its header's signature."
    )
