"""The Flower bundle that the coordinator sends: two names, no code (``shared/trust/bundle.py``)."""

from fedrepay.shared.trust.bundle import PROJECT, PROJECT_FILE


def build() -> bytes:
    """The bundle's bytes (some 650)."""
    import tomli_w  # noqa: PLC0415 - comes with Flower
    from flwr.cli.build import build_fab_from_files  # noqa: PLC0415 - heavy

    content, _ = build_fab_from_files({PROJECT_FILE: tomli_w.dumps(PROJECT).encode()})
    return content
