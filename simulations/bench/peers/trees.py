"""Compiled trees on candidates of ours: LightGBM models as C (tl2cgen, with this machine's compiler), and as Treelite reads them."""

from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import tl2cgen
import treelite

REPEATS = 3


@dataclass(frozen=True)
class PeerTrees:
    """CPU seconds of one thread for all rows and models, medians; the greatest difference to LightGBM; versions."""

    compiled: float
    read: float
    apart: float
    versions: str

    def record(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def run(path: str) -> PeerTrees:
    """Time both.

    Args:
        path: a folder with ``rows.npy`` (m, columns), and of each model ``<n>.txt`` as LightGBM writes it and
            ``<n>.npy``, what it predicts, (m,).
    """
    folder = Path(path)
    rows = np.load(folder / "rows.npy")
    matrix = tl2cgen.DMatrix(rows)
    compiled = read = apart = 0.0
    for file in sorted(folder.glob("*.txt")):
        model = treelite.frontend.load_lightgbm_model(file)
        library = file.with_suffix(".so")
        tl2cgen.export_lib(model, toolchain="gcc", libpath=library, verbose=False)
        predictor = tl2cgen.Predictor(library, nthread=1)
        wanted = np.load(file.with_suffix(".npy"))
        for each in (predictor.predict(matrix), treelite.gtil.predict(model, rows, nthread=1)):
            apart = max(apart, float(np.abs(each.ravel() - wanted).max()))
        compiled += _median(lambda made=predictor: made.predict(matrix))
        read += _median(lambda made=model: treelite.gtil.predict(made, rows, nthread=1))
    return PeerTrees(compiled, read, apart, f"tl2cgen {tl2cgen.__version__}, treelite {treelite.__version__}")


def _median(once: Any) -> float:
    taken = []
    for _ in range(REPEATS):
        begun = process_time()
        once()
        taken.append(process_time() - begun)
    return float(np.median(taken))
