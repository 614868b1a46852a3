"""The small live consortium of the attacks, for tests."""

from fedrepay.simulations.attacks.live import SCHEMA, Tamper, World, rows

__all__ = ["SCHEMA", "Tamper", "World", "rows"]
