"""``python -m fedrepay``."""

from fedrepay.cli import main

main()
