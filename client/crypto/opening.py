"""A sum on its way in: the tag first, then decryption, then the canaries."""

from collections.abc import Sequence

from fedrepay.client.crypto.rlwe import GroupKey
from fedrepay.shared.arrays import I64, U64
from fedrepay.shared.errors import Code, ProtocolError, Refusal
from fedrepay.shared.secure_sum.ciphertext import summed
from fedrepay.shared.secure_sum.packing import GAM, Packing
from fedrepay.shared.secure_sum.tag import AttemptTags


def verify_sum(tags: AttemptTags, payload: bytes, summed_tags: Sequence[int]) -> U64:
    """Check a sum's tag; nothing is decrypted.

    Args:
        tags: of the attempt.
        payload: summed ciphertexts in wire form, 65,536 bytes a chunk.
        summed_tags: summed tags, one a chunk.

    Returns:
        (chunks, 8192) coefficients, to be opened.

    Raises:
        Refusal: code ``tag``, whatever is wrong, its proof the ciphertext that failed: the coordinator asks everybody
            for that one again.
    """
    try:
        chunks = summed(payload, len(summed_tags))
    except ProtocolError as error:
        raise _changed(0) from error
    misfit = tags.first_misfit(chunks, summed_tags)
    if misfit is not None:
        raise _changed(misfit)
    return chunks


def _changed(chunk: int) -> Refusal:
    return Refusal(
        Code.TAG,
        "The summed ciphertexts are not the sum of the cohort's uploads.",
        "The epoch ends at this member; the members' verdicts say whose upload does not fit.",
        chunk.to_bytes(4, "big"),
    )


def open_verified(
    group: GroupKey, tags: AttemptTags, chunks: U64, n_values: int, packing: Packing = GAM
) -> I64:
    """Decrypt what :func:`verify_sum` returned, and check its canaries.

    Args:
        group: the epoch's key.
        tags: of the attempt.
        chunks: (chunks, 8192) coefficients, verified.
        n_values: values in the sum.
        packing: how they lie in slots.

    Returns:
        (n_values,) exact integer sums.

    Raises:
        Refusal: code ``canary``: the decryption is wrong.
        ArgumentError: the cohort does not fit the packing, or the sum has another size.
    """
    members = len(tags.members)
    packing.check_cohort(members)
    slots = group.decrypt(chunks, packing.t_bits)
    if slots[:, -1].tolist() != tags.canary_sums(len(slots), packing.t).tolist():
        raise Refusal(
            Code.CANARY,
            "The sum decrypts to wrong numbers: a mask was wrong under a right tag, or encryption noise is exhausted. "
            "Nobody can tell whose.",
            "The epoch ends at this member: leave out as many members at a time as the quorum allows, in turn, or revoke.",
        )
    return packing.unpack(slots, members, n_values)


def open_sum(
    group: GroupKey,
    tags: AttemptTags,
    payload: bytes,
    summed_tags: Sequence[int],
    n_values: int,
    packing: Packing = GAM,
) -> I64:
    """:func:`verify_sum`, then :func:`open_verified`."""
    return open_verified(group, tags, verify_sum(tags, payload, summed_tags), n_values, packing)
