"""Figures that every finished run has: its release, its costs, what its model learned, the attack on its opened sum.

Only the driver reads members' stores, and only here.
"""

import resource
from importlib.metadata import version
from typing import Any

from fedrepay.client.learning import make_learner
from fedrepay.client.protocol.snapshot import snapshot
from fedrepay.client.scoring import release_file
from fedrepay.client.scoring.score import block_effects, good_value
from fedrepay.shared.privacy.accounting import Charged, Mechanism, charged_of
from fedrepay.shared.schema.bins import layouts
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.schema.columns import PAIR
from fedrepay.shared.trust.fields import GRAM_LEARNERS
from fedrepay.shared.trust.release import ReleaseContent
from fedrepay.shared.trust.roster import quorum
from fedrepay.shared.trust.sums import run_chunks, run_sizes
from fedrepay.simulations.engines.batched import BatchedConsortium
from fedrepay.simulations.rows import coalitions
from fedrepay.simulations.run.arguments import RunArguments
from fedrepay.simulations.run.consortium import Consortium

VERSION = 3
TELLS_ROWS = ("seconds", "peak_rss_mb")
"""Time and memory grow with members' rows, and no noise hides how many there are: only a simulation shows them."""
PACKAGES = ("fedrepay", "flwr", "dp-accounting", "cryptography", "numpy", "duckdb", "scipy")


def export_release(consortium: Consortium) -> ReleaseContent:
    """Copy the opened release from the first member that stored it to ``DIR/release``; a batched run has none to copy."""
    if isinstance(consortium, BatchedConsortium):
        return consortium.result()
    for party in consortium.parties:
        stored = consortium.store(party.name).release()
        if stored is not None:
            _, data, votes = stored
            release_file.write(consortium.folder.release, data, votes)
            return ReleaseContent.decode(data)
    raise AssertionError("a finished run leaves its release at more than half of the members")


def completed_mechanisms(consortium: Consortium, sums: int) -> list[tuple[Charged, ...]]:
    """The mechanisms behind each opened sum, from the first ledger that was charged for all of them."""
    if isinstance(consortium, BatchedConsortium):
        return list(consortium.opened.mechanisms) if consortium.opened else []
    run = consortium.terms.run
    for party in consortium.parties:
        store = consortium.store(party.name)
        charged = {e.attempt: e.event for e in store.ledger() if e.run == run and e.status == "reserved"}
        opened = [opening.attempt for opening in store.openings(run)]
        if len(opened) == sums and set(opened) <= set(charged):
            return [tuple(charged_of(facts) for facts in charged[attempt]) for attempt in opened]
    return [()] * sums


def run_figures(
    consortium: Consortium, release: ReleaseContent, seconds: dict[str, float], *, resumed: bool
) -> dict[str, Any]:
    """The figures of metrics.json that every run has, whatever it learned from."""
    terms, members = consortium.terms, len(consortium.parties)
    done = len(release.sums)
    return {
        "version": VERSION,
        "engine": consortium.engine,
        "privacy": release.statement,
        "rounds": len(release.sums),
        "attempts": release.card["attempts"],
        "attempts_void": release.card["attempts"] - len(release.sums),
        "members": members,
        "smallest_cohort": min(len(cohort) for cohort in release.card["cohorts"]),
        "minimum_cohort": quorum(members, terms.colluders),
        "parameters": release.card["parameters"],
        "values_summed": sum(run_sizes(terms)[:done]),
        "ciphertexts_per_release": sum(run_chunks(terms, members)[:done]),
        **consortium.traffic(),
        "seconds": {name: round(value, 3) for name, value in (seconds | consortium.stages).items()},
        "resumed": resumed,
        "peak_rss_mb": round(_peak_rss() / 1024, 1),
        "versions": {name: version(name) for name in PACKAGES},
        "roster_code": consortium.roster_code,
    }


def _peak_rss() -> int:
    """Of this process, or of one that played members where that is more, kB."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def run_arguments(arguments: RunArguments, consortium: Consortium) -> dict[str, Any]:
    """The arguments that every run has, as metrics.json shows them."""
    terms, schema = consortium.terms, consortium.book.schema
    return {
        "members": len(consortium.parties),
        "rounds": terms.rounds,
        "mode": terms.mode,
        "epsilon": terms.epsilon,
        "delta": terms.delta,
        "drop": list(arguments.drop),
        "schema": f"{schema.name} {schema.version}",
    }


def curves(
    book: CodeBook, release: ReleaseContent, mechanisms: list[tuple[Charged, ...]], head: int = 0
) -> list[dict[str, Any]]:
    """What one head learned: log-odds of the good outcome per bin, with the noise's standard deviation.

    Nothing in local mode, whose torch module has no effects by bin.
    """
    if release.card.get("local"):
        return []
    towards = 1.0 if good_value(book, head) == 1 else -1.0
    learner = make_learner(release.card["learner"], book, len(release.sums))
    state = learner.start()
    for index, (opened, charged) in enumerate(zip(release.sums, mechanisms, strict=True)):
        state = learner.step(index, state, opened, charged)
    deviations = learner.weight_noise(state)[head]
    effects = block_effects(book, release.weights[head])
    result = []
    for layout, effect, deviation in zip(layouts(book.schema), effects, deviations, strict=False):
        centred = towards * (effect - effect.mean())
        curve: dict[str, Any] = {"name": PAIR.join(layout.columns), "kind": layout.kind}
        if layout.kind == "cross":
            rows, columns = (list(side.labels) for side in layout.sides)
            curve |= {"rows": rows, "columns": columns}
            curve["effect"] = centred.reshape(len(rows), len(columns)).tolist()
        else:
            curve |= {"labels": list(layout.labels), "effect": centred.tolist()}
            curve["sd"] = deviation.tolist() if any(mechanisms) else None
        result.append(curve)
    return result


def opened_sum_attack(
    consortium: Consortium, release: ReleaseContent, mechanisms: list[tuple[Charged, ...]]
) -> dict[str, Any] | None:
    """The attack on the opened Gram matrix at this K; None where the learner opens no Gram matrix."""
    terms, book = consortium.terms, consortium.book
    if terms.learner not in GRAM_LEARNERS:
        return None
    learner = make_learner(terms.learner, book, terms.rounds)
    taking_part = release.card["cohorts"][0]
    cohort = {
        party.name: learner.contribution(0, learner.start(), snapshot(book, party.train, b"")[0])
        for party in consortium.parties
        if party.name in taking_part
    }
    # one, or none
    variance = sum(each.share_variance for each in mechanisms[0] if isinstance(each, Mechanism))
    return coalitions.read(book, release.sums[0], cohort, variance, terms.colluders)
