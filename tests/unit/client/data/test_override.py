"""A member's signed override of a mapping: whose word counts, for which bytes, and where it ends up."""

import json
import logging
from pathlib import Path

import pytest

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.data.mappings import override
from fedrepay.client.data.mappings.mapping import load_mapping
from fedrepay.client.node import setup
from fedrepay.client.protocol.snapshot import snapshot
from fedrepay.shared import keys
from fedrepay.shared.errors import ArgumentError, DataError, MappingError
from fedrepay.shared.schema import codebook
from support.command import fedrepay
from support.mixing import BOOK, files, mapping
from support.schemas import column, schema

MIXED = "SELECT who, late, max(CAST(a AS INT)) OVER (PARTITION BY branch) AS a FROM data"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A member's folder, its files, a mapping that mixes, the schema."""
    files(tmp_path, more=False, customers=60)
    mapping(tmp_path, MIXED)
    text = schema(column("a", outside="clip", missing="bin")).encode()
    (tmp_path / "small.toml").write_bytes(text)
    codebook.save(codebook.build(text), tmp_path / "small.toml")
    setup.create("a", tmp_path / "a")
    return tmp_path


def serve(here: Path) -> tuple[int, bytes]:
    mine = setup.identity(here / "a")
    table, digest = setup.rows(BOOK, setup.Sources(here / "small.toml", None, here / "m.toml", None), mine)
    return len(table.codes), digest


def test_serve_refuses_a_mapping_that_mixes_and_takes_it_once_it_is_signed(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(DataError, match=r"max OVER must be PARTITION BY a key") as caught:
        serve(here)
    assert "check-data" in caught.value.remedy
    options = (
        "--folder",
        here / "a",
        "--mapping",
        here / "m.toml",
        "--reason",
        "branch totals are published",
    )
    done = fedrepay("member", "override-mapping", *options)
    assert done.code == 0, done.err
    with caplog.at_level(logging.WARNING):
        rows, digest = serve(here)
    assert (rows, len(digest)) == (60, 32)
    assert digest.hex() in done.out
    assert "branch totals are published" in caplog.text


def test_serve_counts_what_it_drops_and_gives_no_digest_where_nothing_is_overridden(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mapping(here, "SELECT _row, who, late, CAST(a AS INT) AS a FROM data")
    files(here, more=False, customers=60, data=["x,acc-x,off-x,0,soon,north,1"])
    with caplog.at_level(logging.INFO):
        assert serve(here) == (60, b"")
    assert "60 of 61 rows are used; 1 dropped" in caplog.text


def test_serve_finds_by_halves_what_a_declared_key_hides(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list trusts `keys`; a branch called a customer key is the customer then, so the data must say otherwise."""
    mapping(
        here,
        "SELECT upper(left(who, 1)) AS who, late, a FROM data",
        'keys = {customer = ["who"]}\n',
    )
    with pytest.raises(DataError, match="made of its own customer's rows alone"):
        serve(here)
    monkeypatch.setattr("fedrepay.client.data.checking.halves.mixed", lambda *_: ())
    assert serve(here)[0] == 60, "control: the list alone lets it through"


def test_the_digest_changes_the_snapshot_s_hash(here: Path) -> None:
    mapping(here, "SELECT who, late, a FROM data")
    table, _ = setup.rows(
        BOOK, setup.Sources(here / "small.toml", None, here / "m.toml", None), setup.identity(here / "a")
    )
    plain = snapshot(BOOK, table, b"k" * 32)[1]
    assert plain == snapshot(BOOK, table, b"k" * 32, b"")[1]
    assert plain != snapshot(BOOK, table, b"k" * 32, b"d" * 32)[1]


def signed(here: Path) -> Path:
    mine = setup.identity(here / "a")
    path = here / "m.toml"
    override.sign(mine.signing, path, load_mapping(path).digest, "because")
    return override.path_of(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda here: (here / "m.toml").write_text((here / "m.toml").read_text() + "\n"), "other bytes"),
        (lambda here: edit(here, reason="another"), "not signed by this member"),
        (lambda here: edit(here, signature="00" * 64), "not signed by this member"),
        (lambda here: edit(here, signature="zz"), "is not an override of a mapping"),
        (lambda here: edit(here, mapping_sha256="00" * 32), "other bytes"),
        (lambda here: (here / "m.override").write_text("[]"), "is not an override of a mapping"),
        (lambda here: (here / "m.override").write_bytes(b"\xff"), "is not an override of a mapping"),
        (lambda here: sign_as_another(here), "not signed by this member"),  # noqa: PLW0108 - stands below
    ],
)
def test_no_other_word_counts(here: Path, change: object, words: str) -> None:
    signed(here)
    assert serve(here)[1], "control: it counts as it was signed"
    assert callable(change)
    change(here)
    with pytest.raises(MappingError, match=words) as caught:
        serve(here)
    assert "override-mapping" in caught.value.remedy


def edit(here: Path, **fields: str) -> None:
    path = here / "m.override"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def sign_as_another(here: Path) -> None:
    """An override by somebody else's key."""
    path = here / "m.toml"
    override.sign(Identity.create("b").signing, path, load_mapping(path).digest, "because")


@pytest.mark.parametrize("reason", ["", "  ", "x" * 1001])
def test_a_reason_must_be_given(here: Path, reason: str) -> None:
    mine = setup.identity(here / "a")
    with pytest.raises(ArgumentError, match="--reason"):
        override.sign(mine.signing, here / "m.toml", b"d" * 32, reason)
    assert not (here / "m.override").exists()


def test_the_digest_covers_mapping_reason_and_signature(here: Path) -> None:
    path, mine = here / "m.toml", setup.identity(here / "a")
    given = load_mapping(path)
    first = override.sign(mine.signing, path, given.digest, "because")
    assert override.load(keys.public_bytes(mine.signing), path, given) == first
    other = Identity.create("b").signing
    digests = {
        first.digest,
        override.sign(mine.signing, path, given.digest, "why not").digest,
        override.sign(mine.signing, path, b"d" * 32, "because").digest,
        override.sign(other, path, given.digest, "because").digest,
    }
    assert len(digests) == 4


def test_check_data_counts_an_override_only_with_the_member_s_folder(here: Path) -> None:
    signed(here)
    options = ("--schema", here / "small.toml", "--mapping", here / "m.toml")
    refused = fedrepay("member", "check-data", *options)
    assert refused.code == 4
    assert "(mapping: sql)" in refused.out
    taken = fedrepay("member", "check-data", *options, "--folder", here / "a")
    assert taken.code == 0, taken.err
    assert "told" in taken.out
