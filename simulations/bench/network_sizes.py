"""A whole run of five sums over a network of one machine, with more and more members; and what people type for a network."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from fedrepay.server.protocol.state import Event
from fedrepay.simulations.bench.page import table
from fedrepay.simulations.network.driver import NetworkConsortium
from fedrepay.simulations.rows.prepare import prepare
from fedrepay.simulations.run.arguments import Arguments
from fedrepay.simulations.run.folder import Folder
from fedrepay.simulations.run.terms import make_terms

SIZES = (3, 10, 30)
SUMS = 5
TYPED = (
    ("fedrepay", "4: init, serve, admit, train", "0", "4: join, run, roster, approve-roster", "0"),
    (
        "Flower 1.41, its documentation's own way",
        "3: superlink, superexec, run; and openssl 5 times; and `supernode register` for each member",
        "1 for each member: its public key",
        "2: ssh-keygen, supernode",
        "2: ca.pem, and its public key back to the operator",
    ),
    (
        "NVIDIA FLARE, its documentation's own way, not run",
        "3: provision (after writing project.yml), the server's start.sh, job submit",
        "1 for each member: its startup kit, with the private key that the operator made for it",
        "1: its kit's start.sh",
        "0",
    ),
)
"""Who types what until the first model; files carried by hand. Words are compared, and privacy is kept, in the first alone.

NVIDIA FLARE: its pages on provisioning (*Identity security*) and operation; its newer way with a certificate request, where the
key stays at the site, takes more commands.
"""


def whole(members: int) -> tuple[float, float]:
    """Seconds until a network is up, and from the first ask of a run to its release."""
    arguments = Arguments(members=members, rounds=SUMS)
    prepared = prepare(arguments)
    terms = make_terms(arguments, prepared.book, members)
    with tempfile.TemporaryDirectory(prefix="bench") as place:
        folder = Folder(Path(place) / "run")
        folder.make({})
        seen: list[tuple[str, float]] = []

        def watch(event: Event) -> None:
            seen.append((event.kind, time.monotonic()))

        begun = time.monotonic()
        consortium = NetworkConsortium(folder, prepared.book, prepared.parties, terms, watch=watch)
        with consortium.started() as network:
            up = time.monotonic() - begun
            consortium.train(network)
    first = next(at for kind, at in seen if kind == "answer:terms")
    last = next(at for kind, at in seen if kind == "done")
    return up, last - first


def page(sizes: Sequence[int] = SIZES) -> str:
    """Measure; returns what stands below the rounds (Markdown)."""
    rows = []
    least = 0.0
    for members in sizes:
        up, took = whole(members)
        least = least or took
        rows.append((members, f"{up:.0f}", f"{took:.1f}", f"{took / least:.2f}"))
        print(*rows[-1], sep=" | ", flush=True)
    heads = ("Members", "until all nodes are up, s", "five sums to the release, s", f"ratio to {sizes[0]}")
    typed = ("Way", "operator types", "carries by hand", "a member types", "carries by hand")
    return (
        f"{table(heads, rows)}\n\nFive processes a member on one machine's two cores, so what grows is mostly the machine's "
        "load; members of their own machines work at the same time.\n\n"
        f"{table(typed, TYPED)}\n\nOurs is counted by `tests/e2e/test_consortium.py` (aim ≤ 4 and ≤ 5 commands, 0 files: "
        "met); Flower's from the commands that "
        "`tests/e2e/test_network.py` and this page's FedAvg need. NVIDIA FLARE was not run: its row is counted from its pages on provisioning and operation."
    )
