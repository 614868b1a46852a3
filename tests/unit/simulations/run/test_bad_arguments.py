"""`fedrepay simulate` with what cannot be met: a typed error, its exit code, a remedy, and nothing left behind."""

from pathlib import Path

import pytest

from fedrepay.shared.schema import codebook
from fedrepay.simulations.market import case, lenders, records
from fedrepay.simulations.market.market import LEAST_OFFERS
from fedrepay.simulations.run.arguments import MOST_LENDERS, PRESETS, MarketArguments
from fedrepay.simulations.run.terms import make_terms
from support.command import fedrepay
from support.schemas import column, schema
from support.small_run import DERIVED, SmallRun, check_error


@pytest.fixture
def small(tmp_path: Path) -> SmallRun:
    return SmallRun(tmp_path)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ("--epsilon 0", 2, r"--epsilon 0 is outside \(0, 1000\]"),
        ("--epsilon -1", 2, "--epsilon -1 is outside"),
        ("--epsilon nan", 2, "--epsilon nan is outside"),
        ("--epsilon inf", 2, "--epsilon inf is outside"),
        ("--epsilon 1e-9", 2, "--epsilon 1e-09 .*Ask for a larger ε"),
        ("--epsilon 900", 7, "BudgetError: .*smaller epsilon"),
        ("--delta 0", 2, r"--delta 0 is outside \(0, 1\)"),
        ("--delta 1", 2, "--delta 1 is outside"),
        ("--delta nan", 2, "--delta nan is outside"),
        ("--delta 0.01", 2, r"--delta 0.01 is outside 0 … 1/\(10·members_max·n_max\) = 3.90625e-07"),
        ("--members 2", 2, "2 members is outside 3 … 1500"),
        ("--members -1", 2, "-1 members is outside"),
        ("--members 1501", 2, "1501 members is outside 3 … 1500"),
        ("--members 300", 2, "120 customers are too few for 300 members.*bring more rows"),
        ("--members 5 --colluders 0", 2, "colluders = 0 is outside 1 … 3 for 5 members"),
        ("--members 5 --colluders 4", 2, "colluders = 4 is outside 1 … 3 for 5 members"),
        ("--split column:branch --colluders 3", 2, "colluders = 3 is outside 1 … 2 for 4 members"),
        ("--split column:nowhere", 2, "--split column:nowhere: in .*rows.csv it must be there"),
        ("--split skewed:nowhere", 2, "there is no column nowhere"),
        ("--split column:late", 2, "--split column:late gives 2 members; 3 is the least"),
        ("--split column:branch --members 4", 2, "--members does not go with --split column:NAME"),
        ("--split random", 2, "--split random is unknown.*Choose column:NAME"),
        ("--split sizes:even", 2, "--split sizes:even is unknown"),
        ("--split column:", 2, "--split column: is unknown"),
        ("--mode secret", 2, "--mode secret is unknown.*Choose distributed, local or none"),
        ("--rounds 0", 2, "--rounds 0 is outside 2 … 1000"),
        ("--rounds 1", 2, "--rounds 1 is outside"),
        ("--rounds 1001", 2, "--rounds 1001 is outside"),
        ("--members 4 --drop m05@1", 2, "--drop m05@1: there is no such member.*m01 … m04"),
        ("--members 4 --drop m01@5", 2, "--drop m01@5: there is no such member or round.*0 … 4"),
        ("--drop m01", 2, "--drop m01 is not NAME@ROUND"),
        ("--drop m01@-1", 2, "--drop m01@-1 is not NAME@ROUND"),
        ("--drop m01@²", 2, "--drop m01@² is not NAME@ROUND"),
        ("--drop @1", 2, "--drop @1 is not NAME@ROUND"),
        ("--seed -1", 2, "--seed -1 is below 0"),
        ("--members x", 2, "Invalid value for '--members'"),
        ("--nonsense", 2, "No such option"),
        ("--test nowhere.csv", 2, "nowhere.csv cannot be read: No such file.*Check the path"),
        ("--data nowhere.csv", 2, "nowhere.csv cannot be read: No such file"),
        ("--schema nowhere.toml", 2, "nowhere.toml cannot be read: No such file"),
        ("--mapping nowhere.toml", 2, "nowhere.toml cannot be read: No such file"),
    ],
)
def test_options_that_cannot_be_met_leave_no_folder(
    small: SmallRun, options: str, code: int, words: str
) -> None:
    check_error(small.simulate(*options.split()), code, words)
    assert small.left() == []


# --- the market, and options of the other case ---


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ("--market nowhere", 2, "--market nowhere is unknown.*Choose mixed, complement, .*otherworld"),
        ("--scale 0.049", 2, "--scale 0.049 is outside 0.05 … 1.5"),
        ("--scale 1.51", 2, "--scale 1.51 is outside"),
        ("--scale nan", 2, "--scale nan is outside"),
        ("--accounts 19", 2, "--accounts 19 is outside 20 … 20,000"),
        ("--accounts 20001", 2, "--accounts 20001 is outside"),
        ("--members 2", 2, "2 members is outside 3 …"),
        ("--members 65", 2, "--members 65 is outside 3 … 64 for a market"),
        ("--members 3 --drop m02@0", 2, "quorum is 3"),
        ("--members 3 --drop m04@1", 2, "--drop m04@1: there is no such member.*m01 … m03"),
        ("--epsilon 1e-9", 2, "--epsilon 1e-09 .*Ask for a larger ε"),
        ("--epsilon 900", 7, "BudgetError: .*smaller epsilon"),
        ("--delta 0.01", 2, r"--delta 0.01 is outside 0 … 1/\(10·members_max·n_max\) = 7.8125e-08"),
        ("--settings nowhere.toml", 2, "nowhere.toml cannot be read: No such file.*Check the path"),
        ("--schema x.toml", 2, "--schema goes with --data FILE.*leave it out to play the market"),
        ("--mapping x.toml", 2, "--mapping goes with --data FILE"),
        ("--test x.csv", 2, "--test goes with --data FILE"),
        ("--split iid", 2, "--split goes with --data FILE"),
        ("--data x.csv", 2, "--data FILE needs --schema.*fedrepay schema init"),
        ("--data uci --schema x.toml", 2, "--schema does not go with --data uci.*leave it out"),
        ("--data uci --mapping x.toml", 2, "--mapping does not go with --data uci.*leave it out"),
        ("--data uci --market mixed", 2, "--market belongs to the market and does not go with --data"),
        ("--data uci --scale 1", 2, "--scale belongs to the market.*Leave one of the two out"),
        ("--data uci --accounts 300", 2, "--accounts belongs to the market"),
        ("--data x.csv --schema x.toml --settings x.toml", 2, "--settings belongs to the market"),
        ("--data uci --split column:sex --members 3", 2, "--members does not go with --split column:NAME"),
    ],
)
def test_a_market_that_cannot_be_and_options_of_the_other_case_leave_no_folder(
    tmp_path: Path, options: str, code: int, words: str
) -> None:
    check_error(fedrepay("simulate", "--out", tmp_path / "out", *options.split()), code, words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[value", "is not TOML"),
        ("[value]\nlambda_first = -1\n", "value.lambda_first"),
        ("[values]\nlambda_first = 1\n", "values"),
    ],
)
def test_wrong_settings_leave_no_folder(tmp_path: Path, text: str, words: str) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(text)
    result = fedrepay("simulate", "--settings", settings, "--out", tmp_path / "out")
    check_error(result, 3, f"CatalogueError: .*settings.toml.*{words}.*docs/plans.md")
    assert list(tmp_path.iterdir()) == [settings]


def test_markets_at_the_bounds_are_planned() -> None:
    """Control: what is refused above is refused for the value given."""
    assert PRESETS == lenders.PRESETS
    for preset in PRESETS:
        MarketArguments(preset=preset).check()
    small = MarketArguments(members=3, scale=0.05, accounts=20)
    large = MarketArguments(members=MOST_LENDERS, scale=1.5, accounts=20_000)
    for each, least, most in ((small, LEAST_OFFERS, 600), (large, 600, 18_000)):
        each.check()
        found = case.market_of(each).lenders
        assert len(found) == each.members
        assert {min(one.offers for one in found), max(one.offers for one in found)} == {least, most}
        make_terms(each, records.book(), len(found))


def test_more_members_than_the_schema_leaves_range_for_are_refused(small: SmallRun) -> None:
    small.write_schema(schema(column("a"), DERIVED, public="members_max = 4"))
    check_error(small.simulate("--members", 5), 2, "5 members pass the schema's public members_max of 4")
    assert small.left() == []


def test_a_member_with_more_customers_than_the_public_bound_is_refused(small: SmallRun) -> None:
    small.write_schema(schema(column("a"), DERIVED, n_max=20))
    check_error(
        small.simulate("--members", 3), 4, "m01 would bring \\d+ customers; .*n_max is 20.*Use more members"
    )
    assert small.left() == []


# --- files that are wrong ---


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (schema(column("a", bounds=[0, 9], edges=[5, 3])), "edges overlap: 5 is followed by 3"),
        (schema(column("a"), column("b", derived="sum(a) OVER ()")), "b.derived: Window"),
        (
            schema(column("a"), column("b", derived="(SELECT max(a) FROM data)")),
            "b.derived: .* is not one scalar expression",
        ),
        (schema(column("a"), column("b", derived="getenv('HOME')")), "b.derived: Anonymous"),
        ("name = ", "is not TOML"),
        (schema(column("a", confirmed=False)), "no code book|another text"),
    ],
)
def test_a_wrong_or_hostile_schema_leaves_no_folder(small: SmallRun, text: str, words: str) -> None:
    small.schema.write_text(text)
    check_error(small.simulate(), 3, f"SchemaError: .*small.toml.*({words})")
    assert small.left() == []


def test_a_schema_without_its_code_book_says_how_to_build_it(small: SmallRun) -> None:
    codebook.codebook_path(small.schema).unlink()
    check_error(small.simulate(), 3, "SchemaError: There is no code book .*fedrepay schema build")
    assert small.left() == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "the file is empty"),
        ("who,late,a,branch\n", "at least one row"),
        ("who,late,a,branch\nk1,0,5\n", "as many cells in every row"),
        ("who,late,a,branch\nk1,0,much,b1\nk2,3,nan,b2\n", "'much'; must be a number"),
        ("who,late,a,a,branch\nk1,0,5,5,b1\n", "named once, not 2 times"),
    ],
)
def test_wrong_rows_leave_no_folder(small: SmallRun, content: str, words: str) -> None:
    small.data.write_text(content)
    check_error(small.simulate(), 4, f"DataError: .*rows.csv is refused.*{words}.*check-data")
    assert small.left() == []


def test_one_class_in_the_whole_training_or_test_part_stops_the_run(small: SmallRun) -> None:
    small.write_rows("0")
    check_error(
        small.simulate("--members", 3), 4, "The whole training part has one class of outcome.*give more rows"
    )
    small.write_rows("i % 3 == 0")
    test = small.write_rows("1", "test.csv")
    check_error(
        small.simulate("--members", 3, "--test", test), 4, "The whole test part has one class of outcome"
    )
    assert small.left() == ["test.csv"]


def test_drops_below_the_minimum_cohort_are_refused_before_anybody_starts(small: SmallRun) -> None:
    result = small.simulate("--members", 3, "--rounds", 2, "--drop", "m02@0")
    assert result.code == 2, result.err
    assert "quorum is 3" in result.err
    assert not small.out.exists()
