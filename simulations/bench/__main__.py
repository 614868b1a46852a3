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
from fedrepay.simulations.bench.page import Section

SECTIONS = {
    "accuracy": Section(
        "What privacy costs in accuracy",
        "splits 0 … 4, noise 1, 2, 3",
        "standard deviation between splits",
        timed=False,
        peers=True,
    ),
    "local": Section(
        "Each member's own noise against shared noise",
        "splits 0, 1, 2, noise by split",
        "standard deviation between splits",
        timed=False,
    ),
    "secure_sum": Section("Masked BFV against CKKS", "0", "medians of 5, no interval"),
    "stages": Section("A protected run against the same run without protection", "1", "one run, no interval"),
    "memory": Section("The coordinator's memory", "1", "one run, no interval"),
    "engines": Section("The batched engine beside the faithful one", "1", "one run each, no interval"),
    "market": Section(
        "What learning plans together brings",
        "11 … 15",
        "95 % bootstrap over members × seeds",
        timed=False,
    ),
    "decisions": Section("Decisions beside LightGBM's predictions", "0", "medians of 3; p50, p99"),
    "rules": Section("Hard rules on a million accounts", "0", "counts, no interval"),
    "network": Section("A round over a Flower network beside FedAvg", "1", "lowest and highest of 8 rounds"),
    "attacks": Section(
        "What attacks get, defence on and off", "1; poisoning 1 … 3", "given with each figure", timed=False
    ),
    "simulation": Section(
        "Simulating many members beside Flower and pfl",
        "data and weights 1; noise by the engine",
        "lowest and highest of all runs",
        peers=True,
    ),
}
AT_ONCE = 2


def run(names: list[str]) -> list[str]:
    """Measure the named sections and write each when it is done; returns those that failed."""
    failed: list[str] = []

    def done(name: str, body: str, seconds: float) -> None:
        page.write(name, SECTIONS[name], body, seconds)
        print(f"{name}: written to {page.PAGE} after {seconds / 60:.1f} min", flush=True)

    def went_wrong(name: str) -> None:
        failed.append(name)
        traceback.print_exc()
        print(f"{name}: FAILED, the page keeps what it had", flush=True)

    for name in (each for each in names if SECTIONS[each].timed):
        print(f"{name}: begins", flush=True)
        try:
            done(name, *measure(name))
        except Exception:  # noqa: BLE001  # whatever it was, the other sections are still worth measuring
            went_wrong(name)
    together = [each for each in names if not SECTIONS[each].timed]
    with ProcessPoolExecutor(AT_ONCE, mp_context=get_context("spawn")) as pool:
        asked = {pool.submit(measure, name): name for name in together}
        print("".join(f"{name}: begins\n" for name in together), end="", flush=True)
        for each in as_completed(asked):
            try:
                done(asked[each], *each.result())
            except Exception:  # noqa: BLE001  # as above
                went_wrong(asked[each])
    return failed


def main() -> None:
    """Run the named benchmarks, or all."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    told = "; ".join(f"{key}: {value.title}" for key, value in SECTIONS.items())
    parser.add_argument("name", nargs="*", help=told)
    names = parser.parse_args().name or list(SECTIONS)
    unknown = sorted(set(names) - set(SECTIONS))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    begun = perf_counter()
    failed = run(names)
    print(f"{len(names) - len(failed)} of {len(names)} sections in {(perf_counter() - begun) / 60:.0f} min")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
