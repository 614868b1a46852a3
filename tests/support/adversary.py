"""A malicious coordinator's tools, as the attacks use them, for tests."""

from fedrepay.simulations.attacks.adversary import (
    config_of,
    due,
    fork,
    last_sum,
    opened,
    say,
    trace,
    upload_of,
    with_config,
    with_sum,
)

__all__ = [
    "config_of",
    "due",
    "fork",
    "last_sum",
    "opened",
    "say",
    "trace",
    "upload_of",
    "with_config",
    "with_sum",
]
