"""The Flower bundle that the coordinator sends: two names, no code (``shared/trust/bundle.py``)."""

import hashlib
import zipfile
from collections.abc import Mapping
from io import BytesIO

from fedrepay.shared.trust.bundle import MANIFEST, PROJECT, PROJECT_FILE


def build(project: Mapping[str, object] = PROJECT) -> bytes:
    """The bundle's bytes (some 550), in the form that Flower's own ``flwr build`` gives it.

    Args:
        project: its project file, parsed; members take the default alone.
    """
    import tomli_w  # noqa: PLC0415 - comes with Flower

    text = tomli_w.dumps(project).encode()
    line = f"{PROJECT_FILE},{hashlib.sha256(text).hexdigest()},{8 * len(text)}"
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(PROJECT_FILE), text)
        archive.writestr(zipfile.ZipInfo(MANIFEST), line)
    return out.getvalue()
