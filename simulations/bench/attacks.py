"""Every attack of ``fedrepay attack`` at full size: what its adversary gets with the defence on and with it off."""

from time import perf_counter

from fedrepay.simulations.attacks.base import AttackFinding, AttackOptions
from fedrepay.simulations.attacks.catalogue import ATTACKS, load
from fedrepay.simulations.bench.page import table

SEED = 1
_HEADS = ("attack", "adversary", "figure", "defence on", "defence off (control)")
_INTRO = (
    "Each attack plays a small consortium with the product's code and uses only what its adversary has; `docs/attacks.md` "
    "explains each. *Held*: with the defence on every figure stays where the defence promises it; *bites*: with it off "
    "the attack succeeds. The seed drives data and guesses; keys, masks and noise are the operating system's, so "
    "figures under noise move a little from run to run."
)


def run() -> str:
    """Run all attacks; returns the page's section (Markdown)."""
    rows: list[tuple[str, ...]] = []
    notes: list[str] = []
    for name in ATTACKS:
        begun = perf_counter()
        finding = load(name)(AttackOptions(seed=SEED))
        print(f"{name} | {_verdict(finding)} | {perf_counter() - begun:.0f} s", flush=True)
        for place, each in enumerate(finding.rows):
            who = (
                (f"**{name}** ({finding.threat}): {_verdict(finding)}", finding.adversary)
                if not place
                else ("", "")
            )
            rows.append((*who, *(_cell(text) for text in (each.what, each.on, each.off))))
        notes.append(f"- **{name}**. Off: {finding.defence.rstrip('.')}. {finding.note}".rstrip())
    return "\n\n".join([_INTRO, table(_HEADS, rows), "What the figures do not show:", "\n".join(notes)])


def _verdict(finding: AttackFinding) -> str:
    """Held and bites in words."""
    held = "held" if finding.held else "DID NOT HOLD"
    return f"{held}, {'bites' if finding.bites else 'CONTROL FAILED'}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
