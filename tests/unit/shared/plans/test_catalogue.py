"""A member's catalogue: templates multiply out in order, and all that is wrong is said at once."""

from pathlib import Path

import pytest

from fedrepay.shared.errors import CatalogueError
from fedrepay.shared.plans.catalogue import MOST_ARMS, arms, load_catalogue, parse_catalogue
from fedrepay.shared.plans.kinds import KINDS
from support.command import fedrepay

HEAD = 'name = "mine"\nversion = 2\ncurrency = "EUR"\n'
INSTALMENT = '[[plans]]\nkind = "INSTALMENT"\nn = [3, 6]\nfirst_due = [7, 21]\ninterest_waiver = [0.0, 1]\n'
SHARE = '[[plans]]\nkind = "INSTALMENT"\nshare = [0.5, 1]\nfrequency = ["weekly", "monthly"]\n'


def test_lists_multiply_out_in_the_order_they_are_written() -> None:
    of = arms(parse_catalogue((HEAD + INSTALMENT + SHARE).encode(), "mine.toml"))
    assert of.names[:4] == (
        "INSTALMENT n3 day7 portal",
        "INSTALMENT n3 day21 portal",
        "INSTALMENT n3 interest-1 day7 portal",
        "INSTALMENT n3 interest-1 day21 portal",
    )
    assert of.names[8:] == (
        "INSTALMENT share0.5 weekly day14 portal",
        "INSTALMENT share0.5 day14 portal",
        "INSTALMENT share1 weekly day14 portal",
        "INSTALMENT share1 day14 portal",
    )
    assert of.n.tolist() == [3] * 4 + [6] * 4 + [0] * 4
    assert of.share.tolist() == [0.0] * 8 + [0.5, 0.5, 1.0, 1.0]
    assert of.months_each[8:].tolist() == pytest.approx([12 / 52, 1, 12 / 52, 1])
    assert len(set(of.names)) == len(of.names), "names tell arms apart"


def test_every_kind_and_what_pays() -> None:
    text = HEAD + "".join(
        f'[[plans]]\nkind = "{kind}"\n{more}\n'
        for kind, more in (
            ("FULL", ""),
            ("INSTALMENT", "n = [3]"),
            ("SETTLEMENT", "n = [1]\ndiscount = [0.2]"),
            ("TOKEN", "n = [6]"),
            ("DORMANT", "dormant_months = [12]"),
            ("REFER", "human = true"),
            ("NO_OFFER", ""),
            ("REVIEW", "n = [12]\ninterest_waiver = [1.0]"),
            ("CATCH_UP", "n = [6]"),
            ("EXTEND", "n = [12]"),
            ("REDUCED", "n = [6]\ninterest_waiver = [1.0]"),
        )
    )
    of = arms(parse_catalogue(text.encode(), "mine.toml"))
    assert [KINDS[each] for each in of.kind] == list(KINDS)
    assert of.pays.tolist() == [True] * 4 + [False] * 3 + [True] * 4
    assert of.human.tolist() == [False] * 5 + [True] + [False] * 5
    assert of.is_kind("FULL", "TOKEN").tolist() == [True, False, False, True] + [False] * 7
    assert of.is_offer.tolist() == [True] * 3 + [False] * 8


@pytest.mark.parametrize(
    ("plans", "words"),
    [
        ('[[plans]]\nkind = "INSTALMENT"', "plans.0: INSTALMENT needs n"),
        ('[[plans]]\nkind = "INSTALMENT"\nn = [3]\nshare = [0.5]', "one of the two"),
        ('[[plans]]\nkind = "TOKEN"\nshare = [0.5]', "TOKEN takes n"),
        ('[[plans]]\nkind = "REVIEW"\nn = [12]', "a debt rests: it takes interest_waiver"),
        ('[[plans]]\nkind = "REDUCED"\nn = [6]\ninterest_waiver = [0.5]', "a debt rests"),
        ('[[plans]]\nkind = "EXTEND"\nn = [12]\nfrequency = ["weekly"]', "EXTEND is monthly"),
        ('[[plans]]\nkind = "CATCH_UP"', "CATCH_UP takes n"),
        ('[[plans]]\nkind = "FULL"\nn = [3]', "FULL takes neither n nor share"),
        ('[[plans]]\nkind = "FULL"\ndiscount = [0.2]', "a discount above 0 makes a SETTLEMENT"),
        ('[[plans]]\nkind = "SETTLEMENT"\nn = [1]', "a discount above 0 makes a SETTLEMENT"),
        ('[[plans]]\nkind = "SETTLEMENT"\nn = [1]\ndiscount = [0.0, 0.2]', "are all above 0"),
        ('[[plans]]\nkind = "DORMANT"', "dormant_months"),
        ('[[plans]]\nkind = "DORMANT"\ndormant_months = [13]', "plans.0.dormant_months.0"),
        ('[[plans]]\nkind = "INSTALMENT"\nn = [61]', "less than or equal to 60"),
        ('[[plans]]\nkind = "FULL"\nfirst_due = [0]', "greater than or equal to 1"),
        ('[[plans]]\nkind = "FULL"\nfirst_due = [7, 7]', "all different"),
        ('[[plans]]\nkind = "FULL"\nfirst_due = []', "at least one value"),
        ('[[plans]]\nkind = "GIFT"', "plans.0.kind"),
        ('[[plans]]\nkind = "FULL"\nfirst = 7', "plans.0.first: Extra inputs are not permitted"),
        ("plans = []", "at least 1 item"),
        ("[[plans]\n", "is not TOML"),
    ],
)
def test_what_is_wrong_is_named(plans: str, words: str) -> None:
    with pytest.raises(CatalogueError) as error:
        parse_catalogue((HEAD + plans).encode(), "mine.toml")
    assert words in error.value.cause
    assert error.value.cause.startswith("mine.toml")
    assert "docs/plans.md" in error.value.remedy


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(CatalogueError, match=r"currency.*plans\.0"):
        parse_catalogue(b'name = "mine"\nversion = 1\ncurrency = "Euro"\n[[plans]]\nkind = "DORMANT"', "m")


def test_there_is_a_bound_on_plans() -> None:
    many = ", ".join(str(each) for each in range(1, 43))
    text = (
        HEAD
        + f'[[plans]]\nkind = "INSTALMENT"\nn = [{", ".join(map(str, range(2, 14)))}]\nfirst_due = [{many}]\n'
    )
    with pytest.raises(CatalogueError, match=f"504 plans an account; the bound is {MOST_ARMS}"):
        parse_catalogue(text.encode(), "mine.toml")


def test_a_file_comes_with_the_hash_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(HEAD + INSTALMENT)
    made, first = load_catalogue(path)
    path.write_text(HEAD + INSTALMENT + "# changed\n")
    again, second = load_catalogue(path)
    assert made == again
    assert first != second
    with pytest.raises(CatalogueError, match="cannot be read"):
        load_catalogue(tmp_path / "nowhere.toml")


# --- the commands ---


def test_a_catalogue_to_start_from_is_written_once_and_passes_its_check(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    assert fedrepay("member", "catalogue", "init", path).code == 0
    made, _ = load_catalogue(path)
    assert 120 <= len(arms(made).names) <= 170
    again = fedrepay("member", "catalogue", "init", path)
    assert (again.code, "exists already" in again.err) == (2, True)
    shown = fedrepay("member", "catalogue", "check", path, "--balance", 150_000, "--bound", 10_000)
    assert shown.code == 0, shown.err
    assert "INSTALMENT n24 day7 portal" in shown.out
    assert "not affordable" in shown.out
    assert "GBP" in shown.out


def test_a_wrong_catalogue_fails_its_check(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(HEAD + '[[plans]]\nkind = "GIFT"\n')
    found = fedrepay("member", "catalogue", "check", path)
    assert found.code == 3
    assert "plans.0.kind" in found.err


def test_a_token_asks_for_no_more_than_the_smallest_instalment() -> None:
    """No bound holds it (``SMALL``), so an amount that somebody lacks must not be written."""
    head = 'name = "t"\nversion = 1\ncurrency = "GBP"\nsmallest_instalment = 500\n'
    token, full = ('[[plans]]\nkind = "TOKEN"\nn = [6]\n', '[[plans]]\nkind = "FULL"\n')
    with pytest.raises(CatalogueError, match="token_amount 501 is above smallest_instalment 500"):
        parse_catalogue((head + "token_amount = 501\n" + token).encode(), "t.toml")
    assert parse_catalogue((head + "token_amount = 500\n" + token).encode(), "t.toml").token_amount == 500
    assert parse_catalogue((head + "token_amount = 501\n" + full).encode(), "t.toml"), (
        "control: without a token"
    )
