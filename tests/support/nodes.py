"""A node of a member, as the front sees it: a key, and Flower's headers signed with it."""

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fedrepay.server.front import nodes


class Node:
    """A key of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._key = ec.generate_private_key(ec.SECP384R1())

    @property
    def public(self) -> bytes:
        """As ``node.pub`` holds it."""
        return self._key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)

    def join(self, folder: Path) -> None:
        """Be let in."""
        nodes.add(folder, self.public, self.name)

    def headers(self, age: float = 0.0, said: str = "") -> dict[str, str]:
        """Signed ``age`` seconds ago, or over that text in place of a time."""
        timestamp = said or (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
        signature = self._key.sign(timestamp.encode(), ec.ECDSA(hashes.SHA256()))
        public = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return {
            nodes.PUBLIC_KEY: b64encode(public).decode(),
            nodes.SIGNATURE: b64encode(signature).decode(),
            nodes.TIMESTAMP: timestamp,
        }

    def calling(self, url: str, **options: Any) -> httpx.Client:
        """A client that signs each of its requests."""

        def sign(request: httpx.Request) -> None:
            request.headers.update(self.headers())

        return httpx.Client(base_url=url, timeout=30, event_hooks={"request": [sign]}, **options)
