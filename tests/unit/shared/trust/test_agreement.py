"""The consortium's terms: what is written is what is read, and a changed byte is another agreement."""

import pytest

from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.trust import agreement
from fedrepay.shared.trust.agreement import ConsortiumTerms

TERMS = ConsortiumTerms(
    name='Lenders "of" Ærø', address="consortium.example:443", colluders=2, schemas=("ab" * 32, "cd" * 32)
)


@pytest.mark.parametrize("changed", [{}, {"colluders": None}, {"modes": ("distributed", "none")}])
def test_what_is_written_is_read(changed: dict[str, object]) -> None:
    terms = TERMS.model_copy(update=changed)
    assert agreement.parse(agreement.write(terms), "terms.toml") == terms


def test_every_byte_is_agreed_on() -> None:
    written = agreement.write(TERMS)
    assert len(agreement.hashed(written)) == 32
    assert agreement.hashed(written) == agreement.hashed(bytes(written))
    assert agreement.hashed(written) != agreement.hashed(written.replace(b"# a change", b"# a  change"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"minimum_cohort = 5", b"minimum_cohort = 2", "minimum_cohort"),
        (b"epsilon_per_year = 4.0", b"epsilon_per_year = 0.0", "epsilon_per_year"),
        (b":443", b":70000", "address: a port is 1"),
        (b":443", b"", "address"),
        (b"ab" * 32, b"AB" * 32, "schemas"),
        (b"colluders", b"colluder", "colluder"),
        (b"distributed", b"both", "modes"),
        (b"name =", b"name = \xff", "UTF-8"),
        (b"#", b"#" * agreement.LONGEST, "more than"),
    ],
)
def test_what_is_wrong_is_named(old: bytes, new: bytes, said: str) -> None:
    wrong = agreement.write(TERMS).replace(old, new, 1)
    with pytest.raises(ArgumentError, match=said):
        agreement.parse(wrong, "terms.toml")


def test_six_lines_tell_what_it_means() -> None:
    lines = agreement.six_lines(TERMS)
    assert len(lines) == 6
    text = "\n".join(lines)
    assert all(
        part in text for part in (TERMS.name, TERMS.address, "5 members", "even if 2 collude", "ε at most 1")
    )
    assert "4 a year" in text
    assert "without noise" not in text
    assert "without noise" in "".join(agreement.six_lines(TERMS.model_copy(update={"modes": ("none",)})))
