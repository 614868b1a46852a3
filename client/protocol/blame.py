"""Whose upload does not fit its tag: what a member that holds the seed can see of single ciphertexts. Pure.

Masks hide each of them still, and nothing is decrypted. What is judged is signed by the member it names: its header
holds a hash of the very ciphertext and the tag, so nobody can put a wrong one under another's name. Wrong masks under
right tags fit; like any poison they cannot be told from right ones (docs/protocol.md, *One round*, 5).
"""

from collections.abc import Callable
from hashlib import sha256

from fedrepay.client.protocol import guard
from fedrepay.shared.errors import Code, ProtocolError, Refusal
from fedrepay.shared.secure_sum.ciphertext import uploaded
from fedrepay.shared.secure_sum.tag import AttemptTags
from fedrepay.shared.trust.epoch import Epoch
from fedrepay.shared.trust.roster import COORDINATOR
from fedrepay.shared.trust.wire import Evidence, Header, RoundConfig


def suspects(
    epoch: Epoch,
    seed: bytes,
    context: Callable[[RoundConfig], bytes],
    evidence: Evidence,
) -> tuple[str, ...]:
    """Who is at fault for a failed sum, sorted; empty if every ciphertext shown fits.

    The coordinator is, where it added what it should have refused, signed two configurations, or shows something else now.

    Args:
        epoch: roster and who is present.
        seed: the group seed.
        context: what an attempt's tags are bound to.
        evidence: as the coordinator shows it.

    Raises:
        ProtocolError: its configuration is not the coordinator's.
        Refusal: code ``epoch`` or ``roster``: of another run or epoch, not of its cohort, or of one that cannot be.
    """
    config = evidence.config.verified(epoch.roster.coordinator, RoundConfig)
    shown = (len(evidence.headers), len(evidence.payloads))
    if (config.run, config.epoch) != (epoch.run, epoch.id) or shown != (len(config.cohort),) * 2:
        raise Refusal(Code.EPOCH, "The evidence is of another run or epoch, or not of its attempt's cohort.")
    guard.check_cohort(epoch, config.cohort)  # names of no roster would cost a pad each
    found, tags = set(), AttemptTags(seed, context(config), config.cohort)
    for name, signed, payload in zip(config.cohort, evidence.headers, evidence.payloads, strict=True):
        try:
            header = signed.verified(epoch.roster.entry(name).signing, Header)
        except ProtocolError:
            found.add(COORDINATOR)  # it says that it added this
            continue
        facts = (header.run, header.epoch, header.round, header.attempt, header.name)
        wanted = (config.run, config.epoch, config.round, config.attempt, name)
        if facts != wanted or header.config != evidence.config.digest():
            found.add(
                COORDINATOR
            )  # it took what names another attempt, or signed two configurations for this one
        elif payload and sha256(payload).digest() != _hash(header, evidence.chunk):
            found.add(COORDINATOR)
        elif payload and not _fits(tags, header, evidence.chunk, payload):
            found.add(name)
    return tuple(sorted(found))


def _hash(header: Header, chunk: int) -> bytes:
    return header.chunks[chunk] if chunk < min(len(header.chunks), len(header.tags)) else b""


def _fits(tags: AttemptTags, header: Header, chunk: int, payload: bytes) -> bool:
    try:
        (numbers,) = uploaded(payload, 1)
    except ProtocolError:
        return False  # signed by its sender, and no ciphertext at all
    return tags.fits(chunk, numbers, header.tags[chunk], [header.name])
