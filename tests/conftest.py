"""Settings of all tests: the same examples in every run, and no timing."""

from hypothesis import settings

settings.register_profile("fedrepay", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("fedrepay")
