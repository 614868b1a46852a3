"""One page about a member's folder for whoever helps: states, sizes, versions, and nothing that must stay at the member.

Only what is named here is told. A file's name may be a customer's, a setting's value is a path, an error quotes what it
met: so unknown files are counted, settings are named without their values, and errors are named without their words.
"""

import platform
import shutil
import stat
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fedrepay.client.care import home
from fedrepay.client.care.backup import ENTRY, LIMITS, SPENT
from fedrepay.client.care.home import Home
from fedrepay.client.care.spending import spending
from fedrepay.client.crypto import node_key
from fedrepay.client.crypto.identity import IN_FORCE
from fedrepay.client.protocol import enrolment
from fedrepay.client.scoring import in_use
from fedrepay.client.scoring.in_use import Releases
from fedrepay.client.store import settings
from fedrepay.client.store.database import FILE, JOURNAL
from fedrepay.client.store.member_store import MemberStore
from fedrepay.shared.errors import FedrepayError
from fedrepay.shared.trust.roster import Roster

PACKAGES = ("fedrepay", "flwr", "cryptography", "numpy", "duckdb", "pydantic", "dp-accounting", "torch")
_PRIVATE = (IN_FORCE, node_key.PRIVATE, FILE, JOURNAL)
_KNOWN = (*_PRIVATE, node_key.PUBLIC, ENTRY, settings.FILE, LIMITS, SPENT, "member.sock", "CACHEDIR.TAG")
_LITTLE = 1 << 30  # bytes free on the disk
Section = dict[str, Any]


def page(
    folder: Path,
    clock: Callable[[], float],
    schema: Path | None = None,
    limits_file: Path | None = None,
    over: int = 0,
) -> dict[str, Section]:
    """The page, section by section; what cannot be read is named by its error's class.

    Args:
        folder: the member's.
        clock: seconds since 1970.
        schema: as of ``home.of``.
        limits_file: as of ``home.of``.
        over: number of the newest run that is over by the coordinator's word: what ended in it, or before, is past.

    Raises:
        ReleaseError: the folder is no member's.
    """
    store = in_use.opened(folder)
    found: dict[str, Section] = {"versions": _versions(), "clock": _clock(store, clock)}
    found["folder"] = _guarded(lambda: _folder(folder))
    found["settings"] = _guarded(lambda: _settings(folder))
    found["roster"] = _guarded(lambda: _roster(store))
    found["run"] = _guarded(lambda: _run(store, over))
    found["releases"] = _guarded(lambda: _releases(folder))
    here: list[Home] = []
    found["limits"] = _guarded(lambda: _limits(here, folder, schema, limits_file))
    found["budget"] = _guarded(lambda: _budget(here)) if here else {"not read": "the limits were not"}
    return found


def worries(found: dict[str, Section]) -> list[str]:
    """What in a page asks for something to be done."""
    said = [f"{name}: not readable ({part['error']})" for name, part in found.items() if "error" in part]
    folder = found["folder"]
    said += [f"{name} is open to other users" for name in folder.get("open to others", ())]
    if folder.get("free bytes", _LITTLE) < _LITTLE:
        said.append("little is free on the disk")
    if found["clock"].get("before the ledger's newest entry"):
        said.append("the clock is behind what the ledger has noted: the year's sum is wrong until it is set")
    if found["budget"].get("store was lost"):
        said.append(found["budget"]["store was lost"])
    if found["run"].get("ended by"):
        said.append(f"the epoch ended here ({found['run']['ended by']}): see docs/refusals.md")
    if found["roster"].get("signed and not complete"):
        said.append("a later roster was signed here and is not complete")
    if found["releases"].get("held") and found["releases"].get("in use") is None:
        said.append("releases are held and none is in use")
    return said


def _guarded(section: Callable[[], Section]) -> Section:
    try:
        return section()
    except FedrepayError as error:
        return {"error": type(error).__name__}  # its words may name paths
    except OSError as error:
        return {"error": f"{type(error).__name__} {error.errno}"}


def _versions() -> Section:
    found: Section = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return {
        **found,
        "python": platform.python_version(),
        "system": f"{sys.platform} {platform.release()} {platform.machine()}",
    }


def _clock(store: MemberStore, clock: Callable[[], float]) -> Section:
    def newest() -> Section:
        ledger, now = store.ledger(), clock()
        behind = bool(ledger) and now < max(each.at for each in ledger)
        return {
            "UTC": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now)),
            "before the ledger's newest entry": behind,
        }

    return _guarded(newest)


def _folder(folder: Path) -> Section:
    files: Section = {}
    closed: list[str] = []
    others = 0
    if stat.S_IMODE(folder.stat().st_mode) & 0o077:
        closed.append("the folder")
    for each in sorted(folder.iterdir()):
        if each.name not in _KNOWN:
            others += 1
            continue
        state = each.stat()
        mode = stat.S_IMODE(state.st_mode)
        files[each.name] = f"{state.st_size} bytes, {mode:o}"
        if each.name in _PRIVATE and mode & 0o077:
            closed.append(each.name)
    return {
        "name": folder.resolve().name,
        "rights": f"{stat.S_IMODE(folder.stat().st_mode):o}",
        "files": files,
        "other files": others,
        "missing": [name for name in (IN_FORCE, ENTRY) if name not in files],
        "open to others": closed,
        "free bytes": shutil.disk_usage(folder).free,
    }


def _settings(folder: Path) -> Section:
    made = settings.load(folder)
    return {"auto": made.auto, "lines": sorted(made.model_fields_set)}


def _roster(store: MemberStore) -> Section:
    roster, signed = enrolment.held(store), store.fact("signed")
    later = Roster.decode(signed) if signed else None
    waiting = later is not None and (roster is None or later.number > roster.number)
    return {
        "number": None if roster is None else roster.number,
        "members": None if roster is None else len(roster.names),
        "words": None if roster is None else roster.code(),
        "words shown last": (store.fact("shown") or b"").decode() or None,
        "words approved": (store.fact("approved_code") or b"").decode() or None,
        "signed and not complete": later.number if waiting and later is not None else None,
        "newest number": enrolment.newest(store),
    }


def _run(store: MemberStore, over: int) -> Section:
    number = enrolment.newest_run(store)
    entries = [each for each in store.ledger() if each.run == number]
    opened = [each.round for each in store.openings(number) if each.values is not None]
    released = any(each.number == number for each in store.releases())
    voted = store.fact(f"voted:{number}") is not None
    ended = (store.fact("blocked") or b"").decode() or None  # kept until the next epoch begins
    past = number <= over
    state = (
        "none yet" if number == 0 else "released" if released else "signed here" if voted else "unfinished"
    )
    return {
        "last run": number,
        "state": state,
        "attempts charged": len({each.attempt for each in entries}),
        "uploads": len(store.uploads(number)),
        "sums opened": len(opened),
        "ended by": None if past else ended,
        "ended before, and over now": ended if past else None,
        "refusals": "not kept in the store: the log of `member serve` has them",
    }


def _releases(folder: Path) -> Section:
    found = Releases.of(folder)
    now = found.current()
    return {
        "held": list(found.held),
        "in use": None if now is None else now.number,
        "customers barred": len(found.store.barred()),
    }


def _limits(here: list[Home], folder: Path, schema: Path | None, limits_file: Path | None) -> Section:
    made = home.of(folder, schema, limits_file)
    here.append(made)
    written = made.limits.model_fields_set
    shown = {
        name: f"{value}{'' if name in written else ' (default)'}"
        for name, value in made.limits.model_dump().items()
    }
    return {**shown, "schema": made.book.schema_hash.hex()[:16]}


def _budget(here: list[Home]) -> Section:
    spent = spending(here[0])
    return {
        "year's ε": spent.epsilon,
        "δ": spent.delta,
        "limit": spent.limit,
        "store was lost": spent.lost,
        "runs": len(spent.runs),
        "attempts that count": sum(each.counts for run in spent.runs for each in run.attempts),
    }
