"""Gradient inversion: a record is read out of a gradient, where one can see the gradient.

For a linear model with a bias, the gradient of one record is r·(x, 1): its weights' part divided by its bias' part is
the record (Phong et al., *Privacy-preserving deep learning via additively homomorphic encryption*, IEEE TIFS 2018,
section 3; it holds for the first linear layer of any network, Geiping et al., *Inverting gradients*, NeurIPS 2020,
proposition 3.1). Here x is a row of the public code book, so the quotient names the record's bins.

The adversary is tried on all that there is to see of a member that brings one record, the worst case:

- its update before it leaves (the control);
- what the coordinator holds: ciphertexts, read as numbers;
- what the coordinator and K − 2 members hold: the decrypted upload, less the masks they share with the member;
- the opened sum, less what one rival (or all others) put in. There the quotient is not the best one can do: the first
  gradient is taken at the public prior, where r has two values, so the likelihood of every bin under the known noise,
  weighed by how common the bin is, gives the best guess (maximum a posteriori, fields taken as independent).

Chance is the guess that needs no update at all: the most common bin of each field among the adversary's own records.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedrepay.client.crypto.seal import add_noise
from fedrepay.client.data.reading.table import Table, load_mapping, read_table
from fedrepay.client.learning import contribution, make_learner
from fedrepay.client.learning.contribution import from_table
from fedrepay.shared.arrays import F64, I64, U64
from fedrepay.shared.privacy import accounting
from fedrepay.shared.privacy.accounting import Mechanism
from fedrepay.shared.privacy.entropy import Entropy, OsEntropy
from fedrepay.shared.schema import codebook
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.secure_sum.ciphertext import uploaded
from fedrepay.shared.secure_sum.masking import apply_masks
from fedrepay.shared.secure_sum.packing import GAM
from fedrepay.shared.secure_sum.ring import Q
from fedrepay.shared.trust.roster import default_colluders
from fedrepay.shared.trust.sums import default_rounds
from fedrepay.simulations.attacks.base import AttackFinding, AttackOptions, Row
from fedrepay.simulations.attacks.tools.cohort import Cohort
from fedrepay.simulations.run.arguments import SHIPPED, SHIPPED_MAPPING, SHIPPED_SCHEMA

EPSILON, DELTA, MAX_ATTEMPTS = 1.0, 1e-5, 3
COHORTS = (3, 5, 8)
OWN_RECORDS = 1_000
"""Records of the adversary's own, from which it knows how common each bin is."""
MARGIN = 0.05
"""Share of fields read beyond chance that counts as a success."""


@dataclass(frozen=True)
class Inverter:
    """What the adversary knows beforehand: the public code book and how common bins are.

    Attributes:
        book: the code book.
        common: share of each bin, one array (bins,) a feature.
        residuals: r̂ of either outcome at the public prior, in grid units.
        late: share of outcome 1.
    """

    book: CodeBook
    common: tuple[F64, ...]
    residuals: tuple[float, float]
    late: float

    @classmethod
    def of(cls, book: CodeBook, own: Table) -> "Inverter":
        """From the adversary's own records."""
        prior = book.schema.priors[0]
        scale = book.residual_scales[0]
        features = [index for index, block in enumerate(book.blocks) if block.kind == "feature"]
        counts = [
            np.bincount(own.codes[:, index], minlength=len(book.blocks[index].matrix)) + 0.5
            for index in features
        ]
        late = 0.0 if own.outcomes is None else float(own.outcomes[:, 0].mean())
        return cls(
            book,
            tuple(each / each.sum() for each in counts),
            (float(np.trunc(scale * prior)), float(np.trunc(scale * (prior - 1)))),
            late,
        )

    @property
    def chance(self) -> I64:
        """The most common bin of each field."""
        return np.array([each.argmax() for each in self.common])

    def _fields(self) -> list[tuple[F64, slice]]:
        pairs = zip(self.book.blocks, self.book.slices, strict=True)
        return [(block.matrix.astype(np.float64), place) for block, place in pairs if block.kind == "feature"]

    def divide(self, seen: F64) -> I64:
        """Weights' part ÷ bias' part: each field's nearest bin, (features,), from a gradient (d,)."""
        bias = float(seen[-1]) or 1.0
        row = seen / bias * float(self.book.blocks[-1].matrix[0, 0])
        return np.array(
            [int(((table - row[place]) ** 2).sum(axis=1).argmin()) for table, place in self._fields()]
        )

    def likeliest(self, seen: F64, variance: float) -> I64:
        """Each field's likeliest bin, (features,), where noise of this variance lies on one record's gradient."""
        spread = max(variance, 1e-6)
        best, guess = -np.inf, self.chance
        bias = float(self.book.blocks[-1].matrix[0, 0])
        for residual, share in zip(self.residuals, (1 - self.late, self.late), strict=True):
            whole = np.log(max(share, 1e-9)) - (seen[-1] - residual * bias) ** 2 / (2 * spread)
            bins = []
            for common, (table, place) in zip(self.common, self._fields(), strict=True):
                off = ((seen[place] - residual * table) ** 2).sum(axis=1)
                score = np.log(common) - off / (2 * spread)
                bins.append(int(score.argmax()))
                whole += float(score.max())
            if whole > best:
                best, guess = whole, np.array(bins)
        return guess


@dataclass
class Score:
    """Fields read right over many victims."""

    right: list[float]
    beyond: list[float]  # beyond chance

    def add(self, guess: I64, truth: I64, chance: I64) -> None:
        """Count one victim."""
        right = float((guess == truth).mean())
        self.right.append(right)
        self.beyond.append(right - float((chance == truth).mean()))

    @property
    def whole(self) -> float:
        """Share of victims read without one mistake."""
        return float(np.mean(np.array(self.right) == 1.0))

    def __str__(self) -> str:
        right, beyond = float(np.mean(self.right)), float(np.mean(self.beyond))
        return f"{right:.0%} of fields ({beyond:+.0%} beside chance), {self.whole:.0%} of records whole"


def run(options: AttackOptions, entropy: Entropy | None = None) -> AttackFinding:
    """Invert what there is to see of members with one record.

    Args:
        options: ``quick`` takes 12 victims a cohort, else 60.
        entropy: of the noise, for tests; the operating system's by default.
    """
    source = OsEntropy() if entropy is None else entropy
    book = codebook.load(SHIPPED_SCHEMA)
    whole, _ = read_table(book, SHIPPED, load_mapping(SHIPPED_MAPPING), need_outcome=True)
    order = np.random.default_rng([options.seed, 11]).permutation(len(whole.codes))
    reader = Inverter.of(book, whole.take(order[:OWN_RECORDS]))
    scores: dict[tuple[str, bool], Score] = {}
    trials, at = 12 if options.quick else 60, OWN_RECORDS
    for size in COHORTS:
        cohort = Cohort(size)
        for trial in range(trials):
            records = [whole.take(order[at + index : at + index + 1]) for index in range(size)]
            at += size
            _try(reader, cohort, records, trial, scores, source)
    rows = [
        _row(
            "without noise, what the coordinator holds; off: the update itself",
            scores,
            "coordinator",
            "update",
        ),
        _row("without noise, the coordinator and K − 2 members; off: K − 1", scores, "K − 2"),
    ]
    for size in COHORTS:
        rows.append(_row(f"opened sum, K = {size}: one rival; off: no noise", scores, f"rival {size}"))
        rows.append(_row(f"opened sum, K = {size}: all others; off: no noise", scores, f"others {size}"))
    beyond = [float(np.mean(score.beyond)) for (_, on), score in scores.items() if on]
    exact = [scores[key, False].whole for key in ("update", "K − 2", *(f"others {k}" for k in COHORTS))]
    return AttackFinding(
        attack="inversion",
        threat="B1",
        adversary=(
            "The coordinator, alone or with members, or a rival that opens the sum, wants the record of a member "
            "that has only one."
        ),
        defence="masks and encryption (the first two figures, without noise), or noise (the others)",
        rows=tuple(rows),
        held=max(beyond) <= MARGIN,
        bites=min(exact) == 1.0,
        note=(
            f"{trials} victims a cohort from the shipped rows, {len(reader.common)} fields each, every member with "
            f"one record, the first gradient at ε = {EPSILON:g} a release; chance is the most common bin. Without "
            "noise one rival of three members sees two records added, not one. The opened Gram matrix is the matter of "
            "`subtract`."
        ),
    )


def _try(
    reader: Inverter,
    cohort: Cohort,
    records: list[Table],
    number: int,
    scores: dict[tuple[str, bool], Score],
    entropy: Entropy,
) -> None:
    """One victim, m00: the others bring a record each."""
    book, names = reader.book, cohort.names
    mechanism = _first_gradient(book, cohort.size)
    fields = [index for index, block in enumerate(book.blocks[:-1]) if block.kind == "feature"]
    truth = records[0].codes[0, fields].astype(np.int64)
    start = make_learner("dp-newton", book, default_rounds("dp-newton")).start()
    exact = {
        name: contribution.gradient(from_table(book, record), start.weights)
        for name, record in zip(names, records, strict=True)
    }

    def count(what: str, guess: I64, *, on: bool) -> None:
        scores.setdefault((what, on), Score([], [])).add(guess, truth, reader.chance)

    for on in (True, False):
        mechanisms = (mechanism,) if on else ()
        noisy = {name: add_noise(values, mechanisms, entropy) for name, values in exact.items()}
        attempt = cohort.attempt(2 * number + on)
        uploads = [cohort.upload(name, noisy[name], attempt) for name in names]
        opened = cohort.open(uploads, attempt, book.dimension)
        rest = opened.astype(np.float64)
        share = mechanism.share_variance if on else 0.0
        others = sum(noisy[name] for name in names[1:])
        count(
            f"rival {cohort.size}",
            reader.likeliest(rest - noisy[names[1]], share * (cohort.size - 1)),
            on=on,
        )
        count(f"others {cohort.size}", reader.likeliest(rest - others, share), on=on)
        if not on:  # masks and encryption are tried by themselves: noise would hide that they are missing
            for colluders, held in ((names[2:], True), (names[1:], False)):
                read = unmasked(cohort, uploads[0].payload, attempt, colluders, book.dimension)
                count("K − 2", reader.divide(read), on=held)
            numbers = _centred(uploaded(uploads[0].payload, 1)[0, : book.dimension], Q)
            count("coordinator", reader.divide(numbers), on=True)
            count("update", reader.divide(exact[names[0]].astype(np.float64)), on=False)


def _first_gradient(book: CodeBook, members: int) -> Mechanism:
    """The mechanism of a run's first gradient, taken at the public prior."""
    sums = make_learner("dp-newton", book, default_rounds("dp-newton")).segments()
    mu = accounting.target_mu(EPSILON, DELTA, accounting.most_draws(sums, members, MAX_ATTEMPTS))
    (found,) = accounting.plan_attempt(mu, sums, (0,), 1, members, default_colluders(members))
    return found


def _centred(numbers: U64, modulus: int) -> F64:
    below = (np.uint64(modulus) - numbers).astype(np.float64)
    return np.where(numbers > np.uint64(modulus // 2), -below, numbers.astype(np.float64))


def unmasked(cohort: Cohort, payload: bytes, attempt: bytes, colluders: Sequence[str], n_values: int) -> F64:
    """What the coordinator and ``colluders`` read in the first member's upload: decrypted, less the masks they know."""
    victim = cohort.names[0]
    slots = cohort.group.decrypt(uploaded(payload, 1), GAM.t_bits)
    masks = apply_masks(
        np.zeros_like(slots),
        GAM.filled(n_values),
        cohort.keys(victim, attempt).key_hash,
        cohort.pair_secrets(victim, colluders),
        attempt,
        GAM.t,
    )
    return _centred(((slots + np.uint64(GAM.t) - masks) % np.uint64(GAM.t))[0, :n_values], GAM.t)


def _row(what: str, scores: dict[tuple[str, bool], Score], on: str, off: str | None = None) -> Row:
    return Row(what, str(scores[on, True]), str(scores[off or on, False]))
