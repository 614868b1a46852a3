"""Errors come back whole from other processes."""

import pickle

import pytest

from fedrepay.shared.errors import Code, DataError, FedrepayError, Refusal

REFUSAL = Refusal(next(iter(Code)).value, "It says no.", proof=b"why")


@pytest.mark.parametrize("error", [DataError("It is wrong.", "Mend it."), REFUSAL], ids=["plain", "refusal"])
def test_an_error_comes_back_as_it_was(error: FedrepayError) -> None:
    back = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (type(back), vars(back), str(back), back.args) == (
        type(error),
        vars(error),
        str(error),
        error.args,
    )


def test_control_an_exceptions_own_way_loses_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(FedrepayError, "__reduce__")
    with pytest.raises(TypeError):
        pickle.loads(pickle.dumps(DataError("It is wrong.", "Mend it.")))  # noqa: S301 - our own
