"""Where the coordinator's processes listen."""

import socket
from pathlib import Path

import pytest

from fedrepay.server.operating import settings as places
from fedrepay.server.operating.settings import CoordinatorSettings
from fedrepay.shared.errors import ArgumentError, NetworkError
from support.founded import settings


@pytest.mark.parametrize("made", [CoordinatorSettings(), settings(behind_proxy=True, host="::1")])
def test_what_is_written_is_read_back(tmp_path: Path, made: CoordinatorSettings) -> None:
    (tmp_path / places.FILE).write_bytes(places.write(made))
    assert places.load(tmp_path) == made


def test_behind_a_proxy_the_front_is_on_loopback() -> None:
    assert CoordinatorSettings().front_place == ("0.0.0.0", 443)  # noqa: S104
    assert CoordinatorSettings(behind_proxy=True).front_place == ("127.0.0.1", 8443)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("port = 0", "port"),
        ("prot = 443", "prot"),
        ('host = "--help"', "dash"),
        ("service = 9464", "one process"),
        ("port = \n", "TOML"),
    ],
)
def test_wrong_settings_are_told(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / places.FILE).write_text(line)
    with pytest.raises(ArgumentError, match=words):
        places.load(tmp_path)


def test_a_folder_without_settings_is_no_coordinators(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="coordinator init"):
        places.load(tmp_path)


def test_a_port_that_is_taken_is_told_with_whose_it_would_be() -> None:
    made = settings()
    places.check_free(made)
    with socket.socket() as taker:
        taker.bind(("127.0.0.1", made.service))
        taker.listen()
        assert places.listens("127.0.0.1", made.service)
        with pytest.raises(NetworkError, match=rf"service cannot listen at 127.0.0.1:{made.service}"):
            places.check_free(made)
    assert not places.listens("127.0.0.1", made.service)
    with pytest.raises(NetworkError, match="front cannot listen"):
        places.check_free(made.model_copy(update={"host": "192.0.2.1"}))
