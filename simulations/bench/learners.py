"""DP-Newton, DP-Surrogate and the same additive model without privacy, on the same splits and draws of noise.

The shipped rows, and made-up ones in which a few bins decide nearly everything, in three strengths; and the debt market.
``compare`` takes the splits of any other table (:func:`of_table`): what is not shipped is measured by hand.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedrepay.client.data.reading.table import load_mapping, read_table
from fedrepay.client.learning import make_learner, ridge
from fedrepay.client.learning.contribution import Rows, from_table, prepare
from fedrepay.client.plans.deciding.settings import Settings
from fedrepay.shared.arrays import F64, I8, I64, U16
from fedrepay.shared.privacy.entropy import SeededEntropy
from fedrepay.shared.schema import codebook
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.simulations.bench.accuracy import ATTEMPTS, ROUNDS, delta, score
from fedrepay.simulations.bench.page import table
from fedrepay.simulations.engines import clear
from fedrepay.simulations.market import evaluate, lenders, models, records
from fedrepay.simulations.rows import baselines
from fedrepay.simulations.rows.split import split_test
from fedrepay.simulations.run.arguments import SHIPPED, SHIPPED_MAPPING, SHIPPED_SCHEMA

LEARNERS = ("dp-newton", "dp-surrogate")
SPLITS, DRAWS, EPSILON = tuple(range(5)), (1, 2, 3), 1.0
MEMBERS, COLLUDERS = 20, 2
STRENGTHS = {"weak": 0.5, "medium": 0.75, "strong": 1.0}
FEATURES, BINS, MADE_UP = 16, 12, 25_000
MARKETS, ACCOUNTS = (11, 12, 13, 14, 15), 400
WEAK_EPSILONS = (0.25, 0.5, 1.0)
BY_ARREARS = (-0.3, -0.3, -0.4, 0.6, 1.8, 1.9, 1.9)
"""Log-odds of default beside the prior by the newest status of payment, as anybody might guess them: never read off the rows."""
DECISIVE = {(0, 3): 5.0, (1, 9): 5.0, (2, 2): -4.0, (3, 6): 4.5, (0, 10): 6.0}
"""(feature, bin) → what it adds to the log-odds where decisive bins are strong."""


@dataclass(frozen=True, eq=False)
class Split:
    """Training rows with their Gram matrix, and test rows: codes (m, blocks − 1), labels (m,)."""

    rows: Rows
    gram: I64
    codes: U16
    labels: I8


@dataclass(frozen=True)
class Quality:
    """On test rows: area under the ROC curve, and mean log-loss in nats."""

    auc: float
    loss: float

    @classmethod
    def of(cls, labels: I8, log_odds: F64) -> "Quality":
        """Of log-odds of label 1, (m,)."""
        return cls(score(labels, log_odds), ridge.loss(labels.astype(np.float64), log_odds))


def parted(
    book: CodeBook, codes: U16, labels: I8, seed: int, customers: Sequence[str] | None = None
) -> Split:
    """Rows of one customer each, a fifth of the customers held out as ``simulate --seed`` does."""
    names = np.array(customers or [str(each) for each in range(len(codes))], dtype=object)
    held_out = split_test(names, seed)
    rows = prepare(book, codes[~held_out], labels[~held_out, None], names[~held_out], None)
    return Split(rows, gram_of(rows), codes[held_out], labels[held_out])


def gram_of(rows: Rows) -> I64:
    """The Gram sum of however many rows."""
    return clear.together(make_learner("dp-newton", rows.book, ROUNDS), rows)(0, None)  # type: ignore[arg-type]


def of_table(path: Path, book: CodeBook, mapping: Path, seed: int) -> Split:
    """A split of a table with one outcome, read as a member reads its own."""
    whole, _ = read_table(book, path, load_mapping(mapping), need_outcome=True)
    held_out = split_test(whole.customers, seed)
    rows, test = from_table(book, whole.take(~held_out)), whole.take(held_out)
    assert test.outcomes is not None  # noqa: S101 - read with its outcomes
    return Split(rows, gram_of(rows), test.codes, test.outcomes[:, 0])


def uci(seed: int) -> Split:
    """A split of the shipped rows."""
    return of_table(SHIPPED, codebook.load(SHIPPED_SCHEMA), SHIPPED_MAPPING, seed)


def said_beforehand(*, shares: bool, start: bool) -> CodeBook:
    """The shipped schema with longer blocks of arrears and shorter crosses, or a start by the newest arrears; both by common sense."""
    text = SHIPPED_SCHEMA.read_text()
    if shares:
        text = re.sub(
            r'(?m)^(name = "(?:status_[0234]|late_months|worst_status)")$', r"\1\nshare = 2.0", text
        )
        text = text.replace("[[crosses]]", "[[crosses]]\nshare = 0.7")
    if start:
        text = text.replace(
            'name = "status_0"', f'name = "status_0"\nstart = {{ default = {list(BY_ARREARS)} }}'
        )
    return codebook.build(text.encode())


def decisive(seed: int, strength: float) -> Split:
    """Made-up rows: sixteen correlated features, five bins that decide, and weak effects of all others."""
    rng = np.random.default_rng([5, seed])
    mixed = np.linalg.cholesky(0.3 + 0.7 * np.eye(FEATURES)).T
    values = rng.normal(size=(MADE_UP, FEATURES)) @ mixed
    codes = np.clip((values + 2.4) / 4.8 * BINS, 0, BINS - 1).astype(np.uint16)
    effects = rng.normal(0, 0.15, (FEATURES, BINS))
    for (feature, place), added in DECISIVE.items():
        effects[feature, place] = strength * added
    log_odds = -2.6 + sum(effects[each][codes[:, each]] for each in range(FEATURES))
    labels = (rng.random(MADE_UP) < 1 / (1 + np.exp(-log_odds))).astype(np.int8)
    return parted(_made_up_book(), codes, labels, seed)


def _made_up_book() -> CodeBook:
    edges = ", ".join(str(each) for each in range(1, BINS))
    text = ['name = "decisive"\nversion = 1\n[public]\nn_max = 30000\nmembers_max = 64\nprior = 0.2\n']
    text += [
        f'[[columns]]\nname = "x{each}"\nrole = "account"\ntype = "number"\nbounds = [0, {BINS}]\nedges = [{edges}]\n'
        for each in range(FEATURES)
    ]
    text.append('[[columns]]\nname = "bad"\nrole = "outcome"\ntype = "integer"\ngood = 0\n')
    return codebook.build("\n".join(text).encode())


def private(split: Split, name: str, epsilon: float | None, draw: int) -> Quality:
    """One run of the batched engine with seeded shares of noise."""
    book = split.rows.book
    learner = make_learner(name, book, ROUNDS)
    sums = clear.together(learner, split.rows)
    mechanisms: clear.Charged = ((),) * ROUNDS
    if epsilon is not None:
        mechanisms = clear.planned(
            learner,
            epsilon=epsilon,
            delta=delta(book),
            members=MEMBERS,
            colluders=COLLUDERS,
            max_attempts=ATTEMPTS,
        )
    state = clear.run(
        learner,
        lambda index, state: split.gram if index == 0 else sums(index, state),
        mechanisms,
        MEMBERS,
        lambda member, index: SeededEntropy(f"{draw} {member} {index} {epsilon}".encode()),
    ).state
    return Quality.of(split.labels, book.rows(split.codes) @ state.weights[0] / book.scale)


def pooled(split: Split, seed: int) -> Quality:
    """The same additive model on all training rows without privacy, its penalty by cross-validation."""
    book, rows = split.rows.book, split.rows
    model, reason = baselines.ridge_logistic(book.rows(rows.codes) / book.scale, rows.outcomes[:, 0], seed)
    if model is None:
        raise ValueError(reason)
    log_odds = book.rows(split.codes) @ model.weights / book.scale + model.intercept
    return Quality.of(split.labels, log_odds)


def compare(
    made: Callable[[int], Split], splits: Sequence[int] = SPLITS, epsilon: float = EPSILON
) -> tuple[str, ...]:
    """A line of the table: d, rows, AUC of each way, and paired differences ± their standard error between splits."""
    found: list[list[Quality]] = []
    for seed in splits:
        split = made(seed)
        runs = [[private(split, name, epsilon, draw) for draw in DRAWS] for name in LEARNERS]
        means = [
            Quality(float(np.mean([each.auc for each in of])), float(np.mean([each.loss for each in of])))
            for of in runs
        ]
        found.append([*means, pooled(split, seed)])
    aucs, losses = (
        np.array([[getattr(each, name) for each in line] for line in found]) for name in ("auc", "loss")
    )
    newton, surrogate, without = aucs.mean(axis=0)
    return (
        f"{split.rows.book.dimension}",
        f"{len(split.rows.codes):,}",
        f"{newton:.4f}",
        f"{surrogate:.4f}",
        f"{without:.4f}",
        _paired(aucs[:, 1] - aucs[:, 0]),
        _paired(losses[:, 1] - losses[:, 0]),
        f"{without - surrogate:.4f}",
    )


def _paired(differences: F64) -> str:
    error = differences.std(ddof=1) / np.sqrt(len(differences))
    return f"{differences.mean():+.4f} ± {error:.4f}"


def compare_public() -> list[tuple[str, ...]]:
    """What shares and a start bring dp-newton at several ε: AUC as it is, and paired differences ± their standard error."""
    ways = {
        "shares": said_beforehand(shares=True, start=False),
        "start": said_beforehand(shares=False, start=True),
        "both": said_beforehand(shares=True, start=True),
    }
    found: dict[float, list[list[Quality]]] = {epsilon: [] for epsilon in WEAK_EPSILONS}
    for seed in SPLITS:
        splits = [uci(seed), *(of_table(SHIPPED, book, SHIPPED_MAPPING, seed) for book in ways.values())]
        for epsilon, lines in found.items():
            runs = [[private(split, "dp-newton", epsilon, draw) for draw in DRAWS] for split in splits]
            lines.append(
                [
                    Quality(
                        float(np.mean([each.auc for each in of])), float(np.mean([each.loss for each in of]))
                    )
                    for of in runs
                ]
            )
    table_lines = []
    for epsilon, lines in found.items():
        aucs, losses = (
            np.array([[getattr(each, name) for each in line] for line in lines]) for name in ("auc", "loss")
        )
        cells = [
            _paired(figures[:, place] - figures[:, 0])
            for place in range(1, len(ways) + 1)
            for figures in (aucs, losses)
        ]
        table_lines.append((f"{epsilon:g}", f"{aucs[:, 0].mean():.4f}", *cells))
    return table_lines


@dataclass(frozen=True)
class MarketWorth:
    """Of the plans that a model chooses in the debt market: mean value, uplift over no plan, regret beside the oracle."""

    value: float
    uplift: float
    regret: float


def of_market(seed: int, epsilon: float = EPSILON) -> list[MarketWorth]:
    """What each learner's plans are worth on the market ``mixed`` with its seeded noise."""
    who = lenders.lenders("mixed", seed)
    tables = [records.training_table(records.record(each, seed)) for each in who]
    encoder = models.encoder()
    grounds = [evaluate.ground(encoder, each, seed, ACCOUNTS, Settings()) for each in who]
    best = float(np.mean([each.oracle.uplift.mean() for each in grounds]))
    found = []
    for name in LEARNERS:
        made = models.shared(tables, epsilon, COLLUDERS, seed, learner_name=name)
        worths = [each.worth(made.predict(each.scored)) for each in grounds]
        uplift = float(np.mean([each.uplift.mean() for each in worths]))
        value = float(np.mean([each.value.mean() for each in worths]))
        found.append(MarketWorth(value, uplift, 1 - uplift / best))
    return found


def compare_market(seeds: Sequence[int] = MARKETS) -> tuple[str, ...]:
    """A line of the market's table: value, uplift and regret of each learner, and the uplifts' paired difference."""
    found = [of_market(seed) for seed in seeds]
    line = [
        f"{np.mean([getattr(each[index], name) for each in found]):.4f}"
        for name in ("value", "uplift", "regret")
        for index in range(len(LEARNERS))
    ]
    return (*line, _paired(np.array([surrogate.uplift - newton.uplift for newton, surrogate in found])))


MARKET_HEADS = (
    "Market",
    "value, dp-newton",
    "dp-surrogate",
    "uplift, dp-newton",
    "dp-surrogate",
    "regret, dp-newton",
    "dp-surrogate",
    "Δ uplift",
)
PUBLIC_HEADS = (
    "ε",
    "AUC, UCI as shipped",
    *(f"{way}: {figure}" for way in ("shares", "start", "both") for figure in ("Δ AUC", "Δ log-loss")),
)
HEADS = (
    "Rows",
    "d",
    "training rows",
    "AUC, dp-newton",
    "dp-surrogate",
    "without privacy",
    "Δ AUC",
    "Δ log-loss",
    "gap",
)


def run() -> str:
    """Measure; returns the page's section (Markdown)."""
    lines = [("UCI default of credit cards", *compare(uci))]
    lines += [
        (f"made up, decisive bins, {name}", *compare(lambda seed, s=strength: decisive(seed, s)))  # type: ignore[misc]
        for name, strength in STRENGTHS.items()
    ]
    markets = [(f"mixed, seeds {MARKETS[0]} … {MARKETS[-1]}", *compare_market())]
    intro = (
        f"ε = {EPSILON:g}, {ROUNDS} secure sums, K = {MEMBERS}, c = {COLLUDERS}, splits {SPLITS[0]} … {SPLITS[-1]} of `simulate --seed` × "
        f"{len(DRAWS)} draws of noise, the same for both learners but for what their sums ask. Differences are dp-surrogate's to "
        "dp-newton's, ± their standard error between splits (markets); the gap is to the same additive model without privacy, its "
        f"penalty by cross-validation. Made-up rows: {FEATURES} correlated features of {BINS} bins, of which five bins decide. Settings "
        "were looked at on splits 20 … 29. The market: uplift = value − no-plan value, regret = 1 − uplift ÷ the oracle's."
    )
    public = (
        "What a schema may say beforehand (docs/protocol.md): *shares*, arrears twice as long and crosses 0.7 times; *start*, log-odds by the newest "
        "status of payment as anybody might guess them. Off where the schema says nothing."
    )
    return (
        f"{intro}\n\n{table(HEADS, lines)}\n\n{table(MARKET_HEADS, markets)}\n\n{public}\n\n"
        f"{table(PUBLIC_HEADS, compare_public())}"
    )
