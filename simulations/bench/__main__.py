"""``python -m fedrepay.simulations.bench [NAME …]``: measure and write ``docs/benchmarks.md``."""

import argparse
from importlib import import_module

from fedrepay.simulations.bench import page

SECTIONS = {
    "accuracy": "What privacy costs in accuracy",
    "secure_sum": "Masked BFV against CKKS",
    "stages": "A protected run against the same run without protection",
    "memory": "The coordinator's memory",
    "market": "What learning plans together brings",
    "decisions": "Decisions beside LightGBM's predictions",
    "rules": "Hard rules on a million accounts",
}


def main() -> None:
    """Run the named benchmarks, or all."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "name", nargs="*", help="; ".join(f"{key}: {value}" for key, value in SECTIONS.items())
    )
    names = parser.parse_args().name or list(SECTIONS)
    unknown = sorted(set(names) - set(SECTIONS))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    for name in names:
        print(f"== {name}", flush=True)
        body = import_module(f"fedrepay.simulations.bench.{name}").run()
        page.write(name, SECTIONS[name], body)
        print(f"written to {page.PAGE}", flush=True)


if __name__ == "__main__":
    main()
