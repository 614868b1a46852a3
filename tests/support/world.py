"""The small live consortium of the attacks, for tests."""

from fedrepay.simulations.run.world import SCHEMA, Tamper, World, rows

__all__ = ["SCHEMA", "Tamper", "World", "rows"]
