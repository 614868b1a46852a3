"""A coordinator's status in lines for people."""

from fedrepay.server.operating.progress import CoordinatorStatus, RunProgress
from fedrepay.shared.text import printable

_SHOWN = 8  # names on one line


def lines(seen: CoordinatorStatus) -> tuple[str, ...]:
    """The status, a line each."""
    said = [f"{name} ({state})" for name, state in seen.members if state != "admitted"]
    count = sum(state == "admitted" for _, state in seen.members)
    others = f"; {', '.join(said)}" if said else ""
    made = [f"Members: {count} connected{others}"]
    if seen.roster:
        made.append(f"Roster {seen.roster}: {', '.join(seen.roster_members)}")
        if seen.missing:
            made.append(f"  missing: {names(seen.missing)}")
    if seen.making is not None:
        made.append(seen.making.text)
    if seen.roster == 0 and seen.making is None:
        made.append("No roster yet.")
    made += ["No run yet."] if seen.run is None else _run(seen.run, seen.at)
    made += [f"Note: {each}" for each in seen.notes]
    return tuple(printable(line, None) for line in made)


def _run(run: RunProgress, now: float) -> list[str]:
    cost = "no noise" if run.mode == "none" else f"ε = {run.epsilon:g}"
    made = [
        f"Run {run.run} ({run.mode}, {cost}): {run.stage}; {run.sums} of {run.rounds} sums, {run.attempts} attempts"
    ]
    if run.waiting:
        since = "" if run.since is None else f", {lasted(now - run.since)}"
        made.append(f"  waited for{since}: {names(run.waiting)}")
    made += [f"  away: {name}: {why}" for name, why in run.away]
    if run.stopped:
        made.append(f"  {run.stopped}")
    if run.refusals:
        made.append(f"  refusals: {', '.join(f'{code} {count}' for code, count in run.refusals.items())}")
    left = "" if run.seconds_left is None else f"; about {lasted(run.seconds_left)} left for sums"
    made.append(f"  received {run.received:,} bytes{left}")
    return made


def names(all_: tuple[str, ...]) -> str:
    """Some names, and how many more."""
    more = f" and {len(all_) - _SHOWN} more" if len(all_) > _SHOWN else ""
    return ", ".join(all_[:_SHOWN]) + more


def lasted(seconds: float) -> str:
    """A length of time."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
