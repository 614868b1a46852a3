"""The attacks on the secure sum, each with its defence on and off; and what their parts do."""

import numpy as np
import pytest

from fedrepay.client.crypto.rlwe import GroupKey
from fedrepay.shared.privacy.entropy import OsEntropy
from fedrepay.simulations.attacks import ckks, collude, oracle, shift
from fedrepay.simulations.attacks.base import AttackFinding, AttackOptions
from fedrepay.simulations.attacks.tools.ntt import Transform
from fedrepay.simulations.attacks.tools.switch import switched
from fedrepay.simulations.attacks.tools.uniform import as_wide_as_stated, p_value

QUICK = AttackOptions(quick=True)


def rows_of(finding: AttackFinding) -> dict[str, tuple[str, str]]:
    return {row.what: (row.on, row.off) for row in finding.rows}


def test_ckks_gives_its_key_away_and_masked_bfv_does_not() -> None:
    finding = ckks.run(QUICK)
    assert (finding.held, finding.bites, finding.threat) == (True, True, "B9")
    assert rows_of(finding)["secret key, N = 4,096: coefficients recovered"] == (
        "0 of 4,096",
        "4,096 of 4,096",
    )


def test_at_nvflares_default_the_whole_key_is_recovered_and_an_upload_opens() -> None:
    found = ckks.peers(*ckks.NVFLARE, seed=2)
    assert found.coefficients == found.degree == 8192
    assert found.error < 1e-6


def test_on_bfv_the_algebra_is_right_and_lacks_the_noise_alone() -> None:
    mine = ckks.ours(3)
    assert (mine.with_noise, mine.coefficients, mine.ternary) == (4096, 0, 0)
    assert mine.agreement == pytest.approx(1 / 3, abs=0.05)


def test_a_ckks_decryption_without_its_noise_gives_no_key() -> None:
    """Control of the control: doubles rounded to the 2⁻²⁰ that a model needs no longer solve."""
    real = ckks._Peers.decrypted

    def rounded(self: ckks._Peers, sums: list[object]) -> np.ndarray:
        return np.asarray(np.round(real(self, sums) * 2**20) / 2**20)

    with switched(ckks._Peers, "decrypted", rounded):
        assert ckks.peers(*ckks.SMALLEST, seed=1).coefficients < 100


@pytest.mark.parametrize(("n", "p"), [(8, 17), (64, 257), (1024, 12289)])
def test_the_transform_multiplies_polynomials_modulo_x_to_the_n_plus_1(n: int, p: int) -> None:
    rng, transform = np.random.default_rng(n), Transform(n, p)
    a, b = (rng.integers(0, p, n).astype(object) for _ in range(2))
    full = np.convolve(a, b)
    wrapped = full[:n].copy()
    wrapped[: n - 1] -= full[n:]
    found = transform.inverse(transform.forward(a) * transform.forward(b) % p)
    assert (found == wrapped % p).all()
    assert (transform.inverse(transform.forward(a)) == a).all()


def test_the_oracle_is_silent_with_the_tag_and_tells_the_key_without() -> None:
    finding = oracle.run(QUICK)
    assert (finding.held, finding.bites) == (True, True)
    figures = rows_of(finding)
    assert figures["coefficients of the key recovered, of 32 asked for"] == (
        "0: one answer to everything",
        "32",
    )
    assert figures["uses of the secret key in 64 questions"] == ("0", "64")


def test_changed_sums_are_not_decrypted_with_the_tag_and_all_are_without() -> None:
    finding = shift.run(QUICK)
    assert (finding.held, finding.bites) == (True, True)
    figures = rows_of(finding)
    assert figures["changed sums that reach a secret key, of 11"] == ("0", "11")
    assert int(figures["changed sums opened to wrong numbers, unnoticed"][1]) >= 1
    assert figures["live, one member is told another sum: different sums opened"][1] == "2"
    assert figures["· what stops it"] == ("m0 refuses: tag", "nothing")
    alone = figures["· the same without the tag: the headers' HMAC alone"]
    assert alone == ("m0 refuses: headers", "nothing")


def test_the_counter_counts_and_gives_the_method_back() -> None:
    real, group = GroupKey.decrypt, GroupKey.derive(bytes(32), bytes(32))
    with shift.counted_decryptions() as used:
        group.decrypt(group.encrypt(np.zeros((1, 4096), dtype=np.uint64), 46, OsEntropy())[1], 46)
    assert used == [1]
    assert GroupKey.decrypt is real


def test_k_minus_2_colluders_read_nothing_and_k_minus_1_read_one_share_of_noise() -> None:
    finding = collude.run(QUICK)
    assert (finding.held, finding.bites) == (True, True)
    on, off = rows_of(finding)["K = 3, K − 2 colluders: values of one update read"]
    assert on.startswith("0 of 16,380 ")
    assert off.startswith("16,380 by one colluder ")


@pytest.mark.parametrize("k", [3, 6])
def test_what_each_coalition_reads(k: int) -> None:
    played = collude.play(k, seed=4)
    assert (played.some.read, played.most.read) == (0, collude.N_VALUES)
    assert played.both.noise**2 == pytest.approx(2, rel=0.1)
    assert played.most.noise**2 == pytest.approx(1, rel=0.1)


def test_uniform_numbers_and_stated_noise_pass_and_others_fail() -> None:
    rng = np.random.default_rng(0)
    assert p_value(rng.integers(0, 1 << 46, 20_000).astype(np.uint64)) > 1e-3
    assert p_value(rng.integers(0, 1 << 45, 20_000).astype(np.uint64)) < 1e-9
    assert p_value(2 * rng.integers(0, 1 << 45, 20_000).astype(np.uint64)) < 1e-9
    scores = rng.normal(0, 1, 300) ** 2
    assert as_wide_as_stated(scores)
    assert not as_wide_as_stated(scores / 4)
    assert not as_wide_as_stated(2 * scores)
