"""``python -m fedrepay.simulations.bench [NAME …]``: measure and write ``docs/benchmarks.md``.

Sections that measure time or memory run alone, one after the other; the others then share the processor, two at a time.
A section that fails leaves the page's old one, the rest goes on, and the exit code is 1.
"""

import argparse
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from time import perf_counter

from fedrepay.simulations.bench import page
from fedrepay.simulations.bench.one_section import measure
from fedrepay.simulations.bench.page import Section, SectionRun
from fedrepay.simulations.bench.reference import told

SECTIONS = {
    "accuracy": Section(
        "What privacy costs in accuracy",
        "splits 0 … 4, noise 1, 2, 3",
        "standard deviation between splits",
        timed=False,
        peers=(page.PEERS,),
    ),
    "learners": Section(
        "Two additive learners on the same rows and noise",
        "splits 0 … 4, noise 1, 2, 3; markets 11 … 15",
        "standard error between splits",
        timed=False,
    ),
    "local": Section(
        "Each member's own noise against shared noise",
        "splits 0, 1, 2, noise by split",
        "standard deviation between splits",
        timed=False,
    ),
    "secure_sum": Section(
        "A secure sum beside CKKS, SPU and MPyC",
        "values by member 0 … 4",
        "lowest and highest of all rounds",
        peers=(page.PEERS, page.SPU),
    ),
    "stages": Section("A protected run against the same run without protection", "1", "one run, no interval"),
    "memory": Section("The coordinator's memory", "1", "one run, no interval"),
    "members": Section("A thousand members through the protocol", "1", "one run, no interval"),
    "engines": Section("The batched engine beside the faithful one", "1", "lowest and highest of all runs"),
    "market": Section(
        "What learning plans together brings",
        "11 … 20, noise 0, 1, 2",
        "95 % between markets",
        timed=False,
    ),
    "year": Section(
        "A year of windows",
        "markets 31 … 35, 31 and 32 of the others, splits 0 … 4, noise 1, 2, 3",
        "95 % between markets, or splits",
        timed=False,
    ),
    "decisions": Section(
        "Decisions beside LightGBM's predictions", "0", "medians of 3; p50, p99", peers=(page.PEERS,)
    ),
    "rules": Section("Hard rules on a million accounts", "0", "counts, no interval"),
    "network": Section("A round over a Flower network beside FedAvg", "1", "lowest and highest of 8 rounds"),
    "dropouts": Section(
        "Drop-outs: what members that vanish cost a run",
        "1, by size and work",
        "95 % of a share",
        timed=False,
    ),
    "attacks": Section(
        "What attacks get, defence on and off", "1; poisoning 1 … 3", "given with each figure", timed=False
    ),
    "simulation": Section(
        "Simulating many members beside Flower, pfl and JAX",
        "data and weights 1; noise by the engine",
        "lowest and highest of all runs",
        peers=(page.PEERS,),
    ),
}
AT_ONCE = 2
MOST = 90
"""Minutes that all sections may take one after the other."""


def run(names: list[str]) -> list[str]:
    """Measure the named sections and write each when it is done; returns those that failed."""
    failed: list[str] = []

    def done(name: str, found: SectionRun) -> None:
        page.write(name, SECTIONS[name], found)
        took = f"{found.seconds / 60:.1f} min; {told(found.before, found.after)}"
        print(f"{name}: written to {page.PAGE} after {took}", flush=True)

    def went_wrong(name: str) -> None:
        failed.append(name)
        traceback.print_exc()
        print(f"{name}: FAILED, the page keeps what it had", flush=True)

    for name in (each for each in names if SECTIONS[each].timed):
        print(f"{name}: begins", flush=True)
        try:
            done(name, measure(name))
        except Exception:  # noqa: BLE001  # whatever it was, the other sections are still worth measuring
            went_wrong(name)
    together = [each for each in names if not SECTIONS[each].timed]
    with ProcessPoolExecutor(AT_ONCE, mp_context=get_context("spawn")) as pool:
        asked = {pool.submit(measure, name): name for name in together}
        print("".join(f"{name}: begins\n" for name in together), end="", flush=True)
        for each in as_completed(asked):
            try:
                done(asked[each], each.result())
            except Exception:  # noqa: BLE001  # as above
                went_wrong(asked[each])
    return failed


def estimate(names: list[str]) -> str:
    """The minutes that sections will take, all and each, by what the page says they took."""
    took = page.minutes()
    total = sum(took.get(name, 0.0) for name in names)
    over = f", over the {MOST} that all may take" if total > MOST else ""
    told = [f"about {total:.1f} min one after the other, as {page.PAGE} says the last runs took{over}:"]
    told += [
        f"  {name}: " + (f"{took[name]:.1f} min" if name in took else "not measured yet") for name in names
    ]
    return "\n".join(told)


def main() -> None:
    """Run the named benchmarks, or all."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    titles = "; ".join(f"{key}: {value.title}" for key, value in SECTIONS.items())
    parser.add_argument("name", nargs="*", help=titles)
    names = parser.parse_args().name or list(SECTIONS)
    unknown = sorted(set(names) - set(SECTIONS))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    for name in names:
        if lacks := page.lacking(SECTIONS[name]):
            parser.error(
                f"{name} cannot be written down at its end ({lacks}); `make bench NAME={name}` installs what it needs"
            )
    print(estimate(names), flush=True)
    begun = perf_counter()
    failed = run(names)
    print(f"{len(names) - len(failed)} of {len(names)} sections in {(perf_counter() - begun) / 60:.0f} min")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
