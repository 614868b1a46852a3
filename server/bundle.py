"""The Flower bundle that the coordinator sends: two names, no code (``shared/trust/bundle.py``)."""

import hashlib
import zipfile
from io import BytesIO

from fedrepay.shared.trust.bundle import MANIFEST, PROJECT, PROJECT_FILE


def build() -> bytes:
    """The bundle's bytes (some 550), in the form that Flower's own ``flwr build`` gives it."""
    import tomli_w  # noqa: PLC0415 - comes with Flower

    project = tomli_w.dumps(PROJECT).encode()
    line = f"{PROJECT_FILE},{hashlib.sha256(project).hexdigest()},{8 * len(project)}"
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(PROJECT_FILE), project)
        archive.writestr(zipfile.ZipInfo(MANIFEST), line)
    return out.getvalue()
