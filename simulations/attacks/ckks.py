"""The members' secret key from a decrypted sum, as peers run CKKS; and the same algebra on ours.

A CKKS decryption is m + e = c0 + c1·s mod q: the doubles it gives hold the encryption noise, so whoever sees them and
the ciphertext has linear equations in the secret key s and no unknown beside it (Li and Micciancio, *On the security
of homomorphic encryption on approximate numbers*, EUROCRYPT 2021). TenSEAL gives the real parts of the N/2 slots,
which is p(X) + p(1/X) of p = c0 + c1·s: N/2 equations a chunk. Two chunks of one sum are N equations; at each pair of
roots (ω, 1/ω) they are two for s(ω) and s(1/ω).

Our decryption is the integer m alone, exactly: e in c0 + c1·s = ⌊q/t·m⌉ + e stays unknown and is as wide as the
noise that hides the key in every public ciphertext. Leaving it out gives numbers that say nothing about s.
"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from struct import pack
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from fedrepay.shared.arrays import F64, U64, Objects
from fedrepay.shared.secure_sum import ring
from fedrepay.shared.secure_sum.ciphertext import PublicSum, summed, uploaded
from fedrepay.shared.secure_sum.packing import GAM
from fedrepay.simulations.attacks.base import AttackFinding, AttackOptions, Row
from fedrepay.simulations.attacks.oracle import secret_key
from fedrepay.simulations.attacks.tools.cohort import Cohort
from fedrepay.simulations.attacks.tools.ntt import Transform
from fedrepay.simulations.attacks.tools.uniform import TOO_RARE, p_value

MEMBERS = 5
SCALE = 2.0**40
NVFLARE = (8192, (60, 40, 40))
"""``nvflare/lighter/impl/he.py``: N and the coefficient modulus; symmetric, scale 2⁴⁰."""
SMALLEST = (4096, (54, 54))
"""The smallest parameters with which TenSEAL adds CKKS vectors well."""


@dataclass(frozen=True)
class Recovered:
    """What came of it on CKKS."""

    degree: int
    coefficients: int
    error: float  # largest, of one member's opened upload, in units of the values


class _Peers:
    """A consortium under one CKKS key, as peers provision it; the server's context holds no key."""

    def __init__(self, degree: int, bits: tuple[int, ...]) -> None:
        # by name: the attacked engine is no part of the product
        self.ts = import_module("tenseal")
        self.degree, self.bits = degree, bits
        self.keys = self.ts.context(
            self.ts.SCHEME_TYPE.CKKS,
            poly_modulus_degree=degree,
            coeff_mod_bit_sizes=list(bits),
            encryption_type=self.ts.ENCRYPTION_TYPE.SYMMETRIC,
        )
        self.keys.global_scale = SCALE
        self.server = self.ts.context_from(
            self.keys.serialize(
                save_public_key=False, save_secret_key=False, save_galois_keys=False, save_relin_keys=False
            )
        )

    def upload(self, values: F64) -> list[bytes]:
        """A member's two chunks."""
        return [self.ts.ckks_vector(self.keys, chunk).serialize() for chunk in values]

    def add(self, uploads: list[list[bytes]]) -> list[Any]:
        """The server's sum, chunk by chunk."""
        sums = [self.ts.ckks_vector_from(self.server, chunk) for chunk in uploads[0]]
        for upload in uploads[1:]:
            for place, chunk in enumerate(upload):
                sums[place] += self.ts.ckks_vector_from(self.server, chunk)
        return sums

    def decrypted(self, sums: list[Any]) -> F64:
        """What a member decrypts and lets become known: a model that is sent back, published or scored with."""
        return np.array([self.ts.ckks_vector_from(self.keys, each.serialize()).decrypt() for each in sums])

    def secret(self) -> Objects:
        """The true key, to count what was recovered: values at the roots, modulo the first prime."""
        return true_key(self.keys, self.degree)


def true_key(context: Any, degree: int) -> Objects:
    """A TenSEAL context's secret key modulo its first prime, (N,), values in SEAL's order."""
    plain = context.secret_key().data.data()
    return np.array([plain.data(i) for i in range(degree)], dtype=object)


class _Numbers:
    """Reads a CKKS ciphertext's polynomials modulo the first prime.

    TenSEAL shows no coefficients. SEAL's decryptor, given the key 0, gives c0, and given the key 1 it gives
    c0 + c1: both are keys that anybody has.
    """

    def __init__(self, degree: int, bits: tuple[int, ...], folder: Path) -> None:
        self._api = import_module("tenseal.sealapi")
        self._degree, self._folder = degree, folder
        moduli = self._api.CoeffModulus.Create(degree, list(bits))
        self.prime = int(moduli[0].value())
        parms = self._api.EncryptionParameters(self._api.SCHEME_TYPE.CKKS)
        parms.set_poly_modulus_degree(degree)
        parms.set_coeff_modulus(moduli)
        self._context = self._api.SEALContext(parms, True, self._api.SEC_LEVEL_TYPE.TC128)  # noqa: FBT003 - C++
        some = self._api.KeyGenerator(self._context).secret_key()
        self._keys = [self._key(value, degree * len(bits), some.parms_id()) for value in (0, 1)]

    def _key(self, value: int, count: int, parms: Any) -> Any:
        """The key whose values are all ``value``, in SEAL's own format without compression."""

        def framed(body: bytes) -> bytes:
            return bytes.fromhex("5ea1100403000000") + pack("<Q", 16 + len(body)) + body

        numbers = framed(pack("<Q", count) + np.full(count, value, "<u8").tobytes())
        path = self._folder / "key"
        path.write_bytes(framed(pack("<4Q", *parms) + pack("<Qd", count, 1.0) + numbers))
        key = self._api.SecretKey()
        key.load(self._context, str(path))
        return key

    def read(self, vector: Any) -> tuple[Objects, Objects]:
        """c0 and c1 of a TenSEAL vector, values in SEAL's order."""
        path = str(self._folder / "ciphertext")
        vector.ciphertext()[0].save(path)
        ciphertext = self._api.Ciphertext()
        ciphertext.load(self._context, path)
        found = []
        for key in self._keys:
            plain = self._api.Plaintext()
            self._api.Decryptor(self._context, key).decrypt(ciphertext, plain)
            found.append(np.array([plain.data(i) for i in range(self._degree)], dtype=object))
        return found[0], (found[1] - found[0]) % self.prime


def symmetric_part(slots: F64) -> Objects:
    """p(X) + p(1/X) as whole numbers, (N,), from the real parts of p's slots, (N/2,): slot j at e^(iπ·3^j/N)."""
    half = len(slots)
    n = 2 * half
    values = np.empty(n)
    exponents = np.array([pow(3, j, 2 * n) for j in range(half)])
    values[(exponents - 1) // 2] = values[(2 * n - exponents - 1) // 2] = slots
    turned = np.fft.fft(values) * np.exp(-1j * np.pi * np.arange(n) / n) / n
    return np.array([int(each) for each in np.rint(2 * SCALE * turned.real)], dtype=object)


def decoded(coefficients_: Objects) -> F64:
    """Real parts of the slots, (N/2,), of a polynomial with whole coefficients, (N,)."""
    n = len(coefficients_)
    turned = coefficients_.astype(np.float64) * np.exp(1j * np.pi * np.arange(n) / n)
    values = np.fft.ifft(turned) * n
    exponents = np.array([pow(3, j, 2 * n) for j in range(n // 2)])
    return np.asarray(values[(exponents - 1) // 2].real / SCALE)


def recover(chunks: list[tuple[Objects, Objects]], doubles: F64, transform: Transform) -> Objects:
    """The secret key's values, (N,), from two chunks of one sum and what they decrypt to, (2, N/2)."""
    p = transform.p
    sides, ones = [], []
    for (c0, c1), slots in zip(chunks, doubles, strict=True):
        known = transform.forward(symmetric_part(slots) % p)
        sides.append((known - c0 - c0[::-1]) % p)  # the root 1/ω of place i stands at place N − 1 − i
        ones.append(c1)
    (r, r2), (a, a2) = sides, ones
    b, b2 = a[::-1], a2[::-1]
    return np.asarray((r * b2 - r2 * b) * transform.inverted((a * b2 - a2 * b) % p) % p)


def peers(degree: int, bits: tuple[int, ...], seed: int) -> Recovered:
    """The whole attack on a CKKS consortium; the adversary is its server."""
    values = np.random.default_rng(seed).normal(0, 0.05, (MEMBERS, 2, degree // 2))
    consortium = _Peers(degree, bits)
    uploads = [consortium.upload(each) for each in values]
    sums = consortium.add(uploads)
    doubles = consortium.decrypted(sums)  # the one thing that leaks back
    with TemporaryDirectory() as folder:
        numbers = _Numbers(degree, bits, Path(folder))
        transform = Transform(degree, numbers.prime)
        found = recover([numbers.read(each) for each in sums], doubles, transform)
        victim = consortium.ts.ckks_vector_from(consortium.server, uploads[0][0])
        c0, c1 = numbers.read(victim)
    opened = decoded(transform.centred(transform.inverse((c0 + c1 * found) % transform.p)))
    key, truth = (transform.inverse(each) for each in (found, consortium.secret()))
    return Recovered(degree, int((key == truth).sum()), float(np.abs(opened - values[0, 0]).max()))


@dataclass(frozen=True)
class Ours:
    """What the same adversary computes from ours."""

    coefficients: int  # recovered, of N
    ternary: int  # of its guess that could be a key's at all
    agreement: float  # share of coefficients guessed right when its numbers are read as −1, 0, 1 by thirds
    with_noise: int  # recovered by the same algebra if it were given the encryption noise
    upload: float  # p of "uniform mod t" for one upload, decrypted with the true key


def ours(seed: int) -> Ours:
    """The same algebra on a masked sum of ours, all slots of its decryption given away."""
    cohort, rng = Cohort(MEMBERS), np.random.default_rng(seed)
    attempt = cohort.attempt(0)
    uploads = [
        cohort.upload(name, rng.integers(-(1 << 30), 1 << 30, ring.VALUES), attempt) for name in cohort.names
    ]
    total = PublicSum(1)
    for upload in uploads:
        total.add(upload.payload, upload.tags)
    chunks = summed(total.payload(), 1)
    c0, c1 = (part.astype(object) for part in chunks.reshape(2, ring.N))
    scaled = _scaled(cohort.group.decrypt(chunks, GAM.t_bits)[0])
    transform = Transform(ring.N, ring.Q)
    slope = transform.forward(c1)

    def solve(noise: Objects | int) -> Objects:
        return transform.inverse(
            transform.forward((scaled + noise - c0) % ring.Q) * transform.inverted(slope) % ring.Q
        )

    truth = np.array(secret_key(cohort.group))
    key = transform.forward(truth.astype(object) % ring.Q)
    noise = transform.inverse((transform.forward((c0 - scaled) % ring.Q) + slope * key) % ring.Q)
    guess = transform.centred(solve(0))
    thirds = np.array([(each > ring.Q // 6) - (each < -(ring.Q // 6)) for each in guess.tolist()])
    alone = cohort.group.decrypt(uploaded(uploads[0].payload, 1), GAM.t_bits)
    return Ours(
        coefficients=int((guess == truth).sum()),
        ternary=int((np.abs(guess) <= 1).sum()),
        agreement=float((thirds == truth).mean()),
        with_noise=int((transform.centred(solve(noise)) == truth).sum()),
        upload=p_value(alone[:, :-1]),
    )


def _scaled(slots: U64) -> Objects:
    """⌊q/t·m⌉ of a plaintext, (N,)."""
    return np.array([(ring.Q * each + GAM.t // 2) // GAM.t for each in slots.tolist()], dtype=object)


def run(options: AttackOptions) -> AttackFinding:
    """Peers' default parameters, the smallest ones too unless ``quick``, and ours."""
    settings = (SMALLEST,) if options.quick else (NVFLARE, SMALLEST)
    theirs = [peers(degree, bits, options.seed) for degree, bits in settings]
    mine = ours(options.seed)
    chance = 6 * (2 / 9 / ring.N) ** 0.5  # six standard deviations of a share of 1/3
    rows = [
        Row(
            f"secret key, N = {each.degree:,}: coefficients recovered",
            f"{mine.coefficients} of {ring.N:,}",
            f"{each.coefficients:,} of {each.degree:,}",
        )
        for each in theirs
    ]
    rows += [
        Row(
            "one member's own upload",
            f"not opened; even with the true key uniform mod t (p = {mine.upload:.2f})",
            f"opened, largest error {max(each.error for each in theirs):.0e}",
        ),
        Row(
            "coefficients guessed right as −1, 0 or 1",
            f"{mine.agreement:.1%} (chance: 33.3 %)",
            "100.0%" if all(each.coefficients == each.degree for each in theirs) else "fewer",
        ),
        Row(
            "coefficients, if the adversary had the noise that exact decryption leaves out",
            f"{mine.with_noise:,} of {ring.N:,}",
            "the doubles hold it",
        ),
    ]
    return AttackFinding(
        attack="ckks",
        threat="B9",
        adversary=(
            f"The coordinator of {MEMBERS} members sees uploads and one summed ciphertext, and learns what it "
            "decrypts to; it wants the members' secret key, to open one member's upload."
        ),
        defence="masked BFV on integers; off is CKKS under one shared key, as NVFLARE provisions it (TenSEAL).",
        rows=tuple(rows),
        held=mine.coefficients == 0
        and mine.ternary == 0
        and abs(mine.agreement - 1 / 3) < chance
        and mine.upload > TOO_RARE,
        bites=mine.with_noise == ring.N
        and all(each.coefficients == each.degree and each.error < 1e-5 for each in theirs),
        note="Members hold the key in any case: what hides an upload from them are its masks (attack collude).",
    )
