"""fedrepay: creditors learn together which repayment plan works for whom."""

from importlib.metadata import version

__version__ = version("fedrepay")
