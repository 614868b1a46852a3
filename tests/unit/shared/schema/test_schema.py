import hashlib
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fedrepay.shared.errors import SchemaError
from fedrepay.shared.schema import bins, codebook, encode, sensitivity, tables
from fedrepay.shared.schema.codebook import PLAIN_MODULUS, build, from_bytes
from fedrepay.shared.schema.model import load_schema, parse_schema
from support.schemas import OUTCOME, column, cross, schema

DATA = Path(codebook.__file__).parents[2] / "simulations" / "data"
UCI = DATA / "uci_default_credit.toml"


def refusal(text: str) -> str:
    with pytest.raises(SchemaError) as caught:
        parse_schema(text.encode(), "mine.toml")
    assert "mine.toml" in caught.value.cause
    assert caught.value.remedy
    return caught.value.cause


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (column("a", bounds=[0, 9], edges=[5, 3]), ["a", "overlap", "5 is followed by 3"]),
        (column("a", bounds=[0, 9], edges=[3, 3]), ["overlap"]),
        (column("a", bounds=[0, 9], edges=[3, 10]), ["edge 10", "bounds (0, 9]"]),
        (column("a", bounds=[0, 9], edges=[0]), ["edge 0", "outside"]),
        (column("a", bounds=[9, 0], edges=[3]), ["bounds 9, 0"]),
        (column("a", bounds=[0, 9], edges=[]), ["a feature needs edges"]),
        (column("a", bounds=[0, 9], edges=[3], model=False), ["takes no edges"]),
        (column("a", bounds="[0, inf]"), ["a"]),
        (
            '[[columns]]\nname="a"\nrole="account"\ntype="number"\nbounds=[0, inf]\nedges=[3]\n',
            ["bounds", "finite"],
        ),
        (
            '[[columns]]\nname="a"\nrole="account"\ntype="number"\nbounds=[0, 9]\nedges=[nan]\n',
            ["edges", "finite"],
        ),
        ('[[columns]]\nname="a"\nrole="account"\ntype="number"\nedges=[3]\n', ["bounds", "public"]),
        (column("a", "integer", bounds=[0, 9], edges=[1.2, 1.8]), ["stays empty"]),
        (column("a", "category", categories=["x"]), ["at least two"]),
        (column("a", "category", categories=["x", "x"]), ["different"]),
        (column("a", "category", categories=["x", "y"], outside="clip"), ["missing bin"]),
        (column("a", "text"), ["customer"]),
        (column("A"), ["name", "pattern"]),
        (column("a", colour="red"), ["colour"]),
        (column("a", bounds=[True, 9], edges=[3]), ["bounds"]),
        (column("a") + column("a"), ["declared twice: a"]),
        (column("a") + "".join(OUTCOME.replace("late", f"late_{i}") for i in range(8)), ["1 to 8", "not 9"]),
        (column("a", prior=0.2), ["prior", "outcome column only"]),
        (column("a", weight=0.5), ["weight", "outcome column only"]),
        (column("a", missing="outside"), ["outside", "outcome columns only"]),
        (column("a", "category", categories=["x", "y"], monotone="up"), ["monotone", "numeric"]),
        (column("a") + OUTCOME.replace("late", "b") + 'monotone = "up"\n', ["monotone", "numeric"]),
        (column("a") + OUTCOME.replace("late", "b") + "weight = 0.5\n", ["every outcome", "without: late"]),
        (column("a") + OUTCOME.replace("late", "b") + 'missing = "bin"\n', ["role outcome"]),
        (column("a", derived="random()"), ["derived", "Rand"]),
        (column("a", derived="b + 1") + column("b"), ["unknown column b", "earlier"]),
        (column("a", derived="late + 1"), ["unknown column late"]),
        (column("a") + column("p", "number", "propensity"), ["p_floor"]),
        (column("g", "category", "audit", categories=["x", "y"]), ["no feature"]),
    ],
)
def test_a_wrong_schema_is_refused_by_name_and_bound(part: str, words: list[str]) -> None:
    cause = refusal(schema(part))
    assert all(word in cause for word in words), cause


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (cross("a", "g", [[5], []]), ["g is not a column of role account or plan"]),
        (cross("a", "late", [[5], [0.5]]), ["late"]),
        (cross("a", "a", [[5], [5]]), ["itself"]),
        (cross("a", "b", [[5], []]), ["b needs a list of numbers"]),
        (cross("a", "b", [[5], [200]]), ["edge 200"]),
        (cross("a", "b", [[5]]), ["each of the two"]),
        (cross("a", "b", [[5], [5]]) + cross("b", "a", [[5], [5]]), ["declared twice"]),
        (cross("a", "c", [[5], [["x"]]]), ["each category exactly once"]),
        (cross("a", "c", [[5], [["x"], ["x", "y"]]]), ["each category exactly once"]),
    ],
)
def test_a_wrong_cross_is_refused(declared: str, words: list[str]) -> None:
    audit = column("g", "category", "audit", categories=["x", "y"])
    cause = refusal(
        schema(column("a"), column("b"), column("c", "category", categories=["x", "y"]), audit, declared)
    )
    assert all(word in cause for word in words), cause


def test_not_toml_and_everything_wrong_at_once() -> None:
    assert "not TOML" in refusal("name = ")
    cause = refusal(schema(column("a", bounds=[0, 9], edges=[5, 3]), column("b", bounds=[0, 9], edges=[99])))
    assert "5 is followed by 3" in cause
    assert "edge 99" in cause


def test_bins_hold_their_lower_edge() -> None:
    book = build(schema(column("a", bounds=[0, 100], edges=[10, 20])).encode())
    values = np.array([0, 9.999999, 10, 19.99, 20, 100.0])
    assert encode.encode(book.schema, {"a": values})[:, 0].tolist() == [0, 0, 1, 1, 2, 2]
    assert book.blocks[0].labels == ("< 10", "10 to 20", "≥ 20")


def test_labels_of_whole_numbers_name_them() -> None:
    parsed = parse_schema(
        schema(column("a", "integer", bounds=[-2, 9], edges=[-1.5, -0.5, 2.5])).encode(), "x"
    )
    assert bins.layouts(parsed)[0].labels == ("-2", "-1", "0 to 2", "≥ 3")


def test_missing_and_unseen_have_a_bin_of_their_own_outside_the_kernel() -> None:
    text = schema(
        column("a", missing="bin"),
        column("c", "category", categories=["x", "y"], missing="bin", outside="clip"),
        cross("a", "c", [[50], []]),
    )
    book = build(text.encode())
    a, c, pair = book.blocks[:3]
    assert (a.labels[-1], c.labels[-1], len(pair.labels)) == ("missing", "missing", 9)
    side = math.trunc(64 / math.sqrt(4))
    assert a.matrix[-1].tolist() == [0, 0, 0, 0, side]
    assert not a.matrix[:-1, -1].any()
    assert c.matrix.tolist() == (side * np.eye(3, dtype=int)).tolist()
    settled, findings = encode.settle(
        book.schema.column("c"), np.array(["x", "new", None], dtype=object), np.zeros(3, bool)
    )
    assert [(each.kind, each.values.tolist()) for each in findings] == [("clip", ["new"])]
    codes = encode.encode(book.schema, {"a": np.array([np.nan, 5, 60]), "c": settled})
    assert codes.tolist() == [[4, 0, 6], [0, 2, 2], [3, 2, 5]]


def test_golden_kernel_block() -> None:
    matrix = build(schema(column("a"), customer=False).encode()).blocks[0].matrix
    root = tables.kernel_root(4)
    assert np.allclose((root**2).sum(axis=1), 1)
    assert np.allclose(
        root @ root, 0.7 * np.exp(-(np.subtract.outer(range(4), range(4)) ** 2) / 4.5) + 0.3 * np.eye(4)
    )
    assert (matrix == np.trunc(64 * root / math.sqrt(2))).all()
    assert matrix.tolist() == [[43, 12, 4, 0], [12, 41, 12, 4], [4, 12, 41, 12], [0, 4, 12, 43]]


def test_features_of_two_bins_categories_and_crosses_stay_one_hot() -> None:
    text = schema(
        column("a", bounds=[0, 9], edges=[5]),
        column("c", "category", categories=["x", "y", "z"]),
        cross("a", "c", [[5], [["x"], ["y", "z"]]]),
    )
    for block in build(text.encode()).blocks[:3]:
        assert (block.matrix == 32 * np.eye(len(block.labels))).all()


def test_rows_put_each_blocks_code_in_its_own_columns() -> None:
    book = build(
        schema(column("a", bounds=[0, 9], edges=[5]), column("b", bounds=[0, 9], edges=[2, 5])).encode()
    )
    row = book.rows(np.array([[1, 2]], dtype=np.uint16))
    expected = [*book.blocks[0].matrix[1], *book.blocks[1].matrix[2], *book.blocks[2].matrix[0]]
    assert row.tolist() == [expected]
    assert book.dimension == 2 + 3 + 1
    with pytest.raises(IndexError):
        book.rows(np.array([[2, 0]], dtype=np.uint16))


def test_the_protocols_example_of_sensitivity() -> None:
    features = [column(f"f{i}", bounds=[0, 100], edges=[10, 20, 30, 40, 50]) for i in range(23)]
    book = build(schema(*features, public="one_row_per_customer = true").encode())
    assert (sensitivity.maxima(book.matrices)[0], book.delta_gram, book.weight_bits) == (3711, 2672, 0)
    assert book.delta_gradient == 65536 * 61


def test_weight_bits_follow_the_data_model() -> None:
    assert build(schema(column("a")).encode()).weight_bits == 6
    assert build(schema(column("a"), customer=False).encode()).weight_bits == 0
    text = schema(column("a"), column("p", "number", "propensity"), customer=False, public="p_floor = 0.1")
    assert build(text.encode()).weight_bits == 6


def test_residual_scale_leaves_room_and_is_refused_below_128() -> None:
    small = build(schema(column("a"), n_max=1000).encode())
    large = build(schema(column("a"), n_max=200_000).encode())
    assert small.residual_scale > large.residual_scale >= 128
    for book in (small, large):
        most = max(int(np.abs(block.matrix).max()) for block in book.blocks)
        n_max = book.schema.public.n_max
        room = 11 * codebook.WORST_NOISE * book.delta_gradient
        used = 256 * n_max * 64 * book.residual_scale * most + room
        assert 2 * used < PLAIN_MODULUS <= 4 * used or book.residual_scale == 1 << 16
    with pytest.raises(SchemaError, match="n_max") as caught:
        build(schema(column("a"), n_max=1_000_000_000).encode())
    assert "Lower" in caught.value.remedy


def test_unconfirmed_bounds_are_not_built() -> None:
    with pytest.raises(SchemaError, match="to confirm: a"):
        build(schema(column("a", confirmed=False)).encode())


def test_the_file_comes_out_the_same_in_another_process(tmp_path: Path) -> None:
    text = schema(*(column(f"f{i}") for i in range(9)))
    (tmp_path / "s.toml").write_text(text)
    program = (
        "import sys,hashlib; from fedrepay.shared.schema.codebook import build;"
        "print(hashlib.sha256(build(open(sys.argv[1],'rb').read()).codebook_bytes).hexdigest())"
    )
    other = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "s.toml")], capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == hashlib.sha256(build(text.encode()).codebook_bytes).hexdigest()


def test_save_and_load(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    text = schema(column("a")).encode()
    path.write_bytes(text)
    with pytest.raises(SchemaError, match="no code book") as caught:
        codebook.load(path)
    assert "schema build" in caught.value.remedy
    book = build(text)
    assert codebook.save(book, path).name == "mine.codebook.safetensors"
    assert codebook.load(path) == book
    assert [each.name for each in tmp_path.iterdir() if "partial" in each.name] == []
    path.write_bytes(text + b"# one word more\n")
    with pytest.raises(SchemaError, match="another text") as caught:
        codebook.load(path)
    assert "schema build" in caught.value.remedy


def test_damaged_or_foreign_code_books_are_refused() -> None:
    text = schema(column("a"), column("b")).encode()
    book = build(text)
    for damaged in (b"", b"\0" * 40, book.codebook_bytes[:-9], b"\xff" * 99):
        with pytest.raises(SchemaError):
            from_bytes(text, damaged)
    larger = bytearray(book.codebook_bytes)
    larger[-4:] = (1 << 20).to_bytes(4, "little")
    with pytest.raises(SchemaError, match="shape or size"):
        from_bytes(text, bytes(larger))
    other = build(schema(column("a"), column("c")).encode()).codebook_bytes
    with pytest.raises(SchemaError):
        from_bytes(text, other)


def test_the_hash_covers_both_files() -> None:
    text = schema(column("a")).encode()
    book = build(text)
    changed = bytearray(book.codebook_bytes)
    changed[-4] ^= 1
    assert from_bytes(text, bytes(changed)).schema_hash != book.schema_hash
    assert build(text + b"\n").schema_hash != book.schema_hash


def test_shipped_schema_is_the_compact_set() -> None:
    book = codebook.load(UCI)
    assert book.dimension == 203
    assert (len(book.blocks), book.weight_bits, book.residual_scale) == (20, 0, 1 << 16)
    assert [each.good for each in load_schema(UCI).outcomes] == [0]
    assert build(UCI.read_bytes()) == book
    model = {name for block in book.blocks for name in block.columns}
    assert not model & {column.name for column in book.schema.of_role("audit")}


def test_settle_reports_rows_values_and_bounds() -> None:
    parsed = parse_schema(
        schema(column("a", "integer", bounds=[0, 9], edges=[5], outside="clip")).encode(), "x"
    )
    values = np.array([1, np.nan, 2.5, 99, -1, np.inf])
    settled, found = encode.settle(parsed.column("a"), values, np.zeros(6, bool))
    assert {(each.bound, each.kind, *each.rows.tolist()) for each in found} == {
        ("not missing", "refuse", 1),
        ("a whole number", "refuse", 2),
        ("a finite number", "refuse", 5),
        ("0 to 9", "clip", 3, 4),
    }
    assert settled[[0, 3, 4]].tolist() == [1, 9, 0]
    assert encode.refused_rows(found, 6).tolist() == [False, True, True, False, False, True]


def test_a_missing_value_without_a_bin_never_gets_a_code() -> None:
    book = build(schema(column("a")).encode())
    with pytest.raises(ValueError, match="missing or unseen"):
        encode.encode(book.schema, {"a": np.array([np.nan])})
