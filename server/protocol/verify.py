"""What the coordinator checks before it adds a byte: signature first, then sizes, then parsing."""

from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.secure_sum.ciphertext import UPLOAD_BYTES, hashes
from fedrepay.shared.trust.epoch import Epoch
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Header, RoundConfig, Upload


def check_upload(
    upload: Upload, signed: Signed, config: RoundConfig, epoch: Epoch, name: str, chunks: int
) -> Header:
    """The upload's header, once everything it claims has been checked.

    Args:
        upload: header and ciphertexts as received.
        signed: the attempt's signed configuration.
        config: the same, parsed.
        epoch: roster and hellos.
        name: the member asked.
        chunks: ciphertexts this round must have.

    Raises:
        ProtocolError: signature, sender, attempt, size or digest is wrong.
    """
    header = upload.header.verified(epoch.roster.entry(name).signing, Header)
    expected = (config.run, config.epoch, config.round, config.attempt, signed.digest(), name)
    claimed = (header.run, header.epoch, header.round, header.attempt, header.config, header.name)
    if claimed != expected:
        raise ProtocolError(f"The upload of {name} belongs to another attempt.", "It is not added.")
    if len(upload.payload) != chunks * UPLOAD_BYTES or len(header.tags) != chunks:
        raise ProtocolError(
            f"The upload of {name} has {len(upload.payload)} bytes and {len(header.tags)} tags, "
            f"not {chunks * UPLOAD_BYTES} and {chunks}.",
            "It is not added.",
        )
    if hashes(upload.payload) != header.chunks:
        raise ProtocolError(f"The ciphertexts of {name} are not the ones it signed.", "They are not added.")
    return header
