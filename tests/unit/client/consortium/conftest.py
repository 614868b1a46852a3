"""A coordinator and a member of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedrepay.client.consortium import joining
from fedrepay.client.consortium.joining import Brought
from fedrepay.shared.schema import codebook
from fedrepay.shared.schema.codebook import CodeBook
from support import shop as shops
from support.coordinator_stub import Stub, coordinator


@pytest.fixture(scope="session")
def book(tmp_path_factory: pytest.TempPathFactory) -> CodeBook:
    return codebook.load(shops.make(tmp_path_factory.mktemp("shop")).schema)


@pytest.fixture
def stub(tmp_path: Path, book: CodeBook) -> Iterator[Stub]:
    with coordinator(tmp_path / "coordinator", book) as made:
        yield made


@pytest.fixture
def member(stub: Stub, tmp_path: Path) -> Path:
    """The folder of an admitted member."""
    folder, offered = tmp_path / "m", joining.meet(stub.invitation(), None)
    stub.state = "admitted"
    joining.ask(folder, offered, joining.prepare(folder, offered, Brought()), None)
    return folder
