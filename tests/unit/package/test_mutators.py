"""The mutators of ``make mutants``: which faults they put in, one at a time, and how they name them."""

from mutation.mutators import mutants

SOURCE = '''
"""Words are not mutated."""
LIMIT: int = 7

@decorated(1)
def check(a: int | None, b: bytes) -> bool:
    """Nor here."""
    if a < LIMIT and not b:
        raise ValueError(f"{a + 1} is too small")
    if (a, b) != (1, LIMIT):
        store.where(a).limit(2)
    total[a] = min(a, -a, key=abs)
    total += a * 2.5
    return digest(a, b, True)
'''


def test_each_fault_alone() -> None:
    found = list(mutants("x.py", SOURCE))
    changes = {mutant.change for mutant in found}
    wanted = {
        "7 → 8",
        "7 → 6",
        "a < LIMIT → a <= LIMIT",
        "a < LIMIT → a >= LIMIT",
        "a < LIMIT and (not b) → a < LIMIT or not b",
        "a < LIMIT and (not b) → a < LIMIT",
        "a < LIMIT and (not b) → not b",
        "not b → b",
        "raise ValueError(f'{a + 1} is too small') → pass",
        "(a, b) != (1, LIMIT) → (a, b) == (1, LIMIT)",
        "(a, b) != (1, LIMIT) → (b,) != (LIMIT,)",
        "(a, b) != (1, LIMIT) → (a,) != (1,)",
        "store.where(a).limit(2) → store.where(a)",
        "store.where(a) → store",
        "store.where(a).limit(2) → pass",
        "total[a] = min(a, -a, key=abs) → pass",
        "min(a, -a, key=abs) → max(a, -a, key=abs)",
        "min(a, -a, key=abs) → min(a, key=abs)",
        "min(a, -a, key=abs) → min(a, -a)",
        "-a → a",
        "total += a * 2.5 → total -= a * 2.5",
        "total += a * 2.5 → pass",
        "a * 2.5 → a / 2.5",
        "2.5 → 5.0",
        "2.5 → 1.25",
        "return digest(a, b, True) → return None",
        "digest(a, b, True) → digest(b, True)",
        "True → False",
    }
    assert wanted <= changes
    assert not any(
        "decorated" in change or "int | None" in change or "a + 1 →" in change for change in changes
    )
    assert len({mutant.key for mutant in found}) == len({mutant.source for mutant in found}) == len(found)


def test_a_mutant_is_found_again_when_lines_move_and_knows_its_own() -> None:
    keys = [mutant.key for mutant in mutants("x.py", SOURCE)]
    moved = list(mutants("x.py", "\n\n" + SOURCE))
    assert [mutant.key for mutant in moved] == keys
    (raised,) = [m for m in mutants("x.py", SOURCE) if m.change.startswith("raise")]
    assert (raised.where, 9 in raised.lines, 8 in raised.lines) == ("check", True, False)
