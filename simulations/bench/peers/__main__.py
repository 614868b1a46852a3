"""``python -m fedrepay.simulations.bench.peers ENGINE TRAINER``: one engine on its workload, as one line of JSON.

Peers run in environments of their own (``.venv-peers``, extra ``peers``; ``.venv-spu``), ours in ours.
"""

import json
import sys
from importlib import import_module

ENGINES = ("flower", "pfl_engine", "plain", "ours", "pooled", "jax_batched", "spu_sum", "mpyc_sum", "trees")


def main() -> None:
    """Run the named peer."""
    engine, argument = sys.argv[1:]
    if engine not in ENGINES:
        raise SystemExit(f"unknown engine {engine}; there are {', '.join(ENGINES)}")
    found = import_module(f"fedrepay.simulations.bench.peers.{engine}").run(argument)
    if found is not None:
        print(json.dumps(found.record()), flush=True)


if __name__ == "__main__":
    main()
