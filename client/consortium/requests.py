"""Who signs what a member asks: its own process through the door, or, for commands of its people, the keys in the folder."""

import time
from pathlib import Path

from fedrepay.client.consortium import tls
from fedrepay.client.consortium.channel import Channel, ShutOutError, Signer
from fedrepay.client.node import house, setup
from fedrepay.client.store import settings
from fedrepay.shared.errors import ArgumentError, NetworkError


def by_keys(folder: Path) -> Signer:
    """Signs with the keys of the folder.

    Raises:
        StorageError: it holds none.
    """
    mine = setup.identity(folder)
    return lambda method, body: house.request(mine, method, body, time.time())


def by_door(socket: Path) -> Signer:
    """Has the member's own process sign, at its door: this process holds no identity key."""
    return lambda method, body: house.signed(socket, method, body)


def opened(folder: Path, sign: Signer | None = None) -> Channel:
    """A channel to the coordinator of the folder's settings.

    Args:
        folder: the member's.
        sign: by default with the keys of the folder.

    Raises:
        ArgumentError: the folder's settings name no coordinator.
        NetworkError: the certificate cannot be used.
        StorageError: a file cannot be read.
    """
    held = settings.load(folder)
    if held.address is None:
        raise ArgumentError(
            f"{folder / settings.FILE} names no coordinator.",
            "`fedrepay member join` with an invitation does it.",
        )
    return Channel(held.address, folder, sign or by_keys(folder), held.proxy)


def counts(folder: Path) -> bool:
    """Whether the folder's certificate is good here and the coordinator does not refuse it; one that is away refuses nobody.

    Raises:
        StorageError: a file cannot be read.
    """
    try:
        tls.check(folder, time.time())
    except NetworkError:
        return False
    try:
        with opened(folder) as calls:
            calls.stand()
    except ShutOutError:
        return False
    except NetworkError:
        return True
    return True
