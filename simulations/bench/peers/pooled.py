"""Private models of others on pooled rows: DP-EBM (interpret) and Opacus' DP-SGD of a logistic model on public bins."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from interpret.privacy import DPExplainableBoostingClassifier
from opacus import PrivacyEngine
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from fedrepay.shared.arrays import F64

SEEDS, EPSILON = (1, 2, 3), 1.0
EPOCHS, BATCH, RATE, CLIP = 10, 2_048, 16.0, 1.0
"""Opacus': the rate was chosen among 1, 4, 16 and 64 on a validation part of the training rows of split 0."""


@dataclass(frozen=True)
class NoiseScores:
    """AUC on the test rows, one a seed of noise, by name of the model."""

    auc: dict[str, list[float]]

    def record(self) -> dict[str, Any]:
        """As plain values."""
        return {"auc": self.auc}


def run(path: str) -> NoiseScores:
    """Fit both on one split.

    Args:
        path: a NumPy archive with ``raw``, ``bins`` and ``labels`` of the training rows, the same with ``test_`` before,
            ``bounds`` (2, raw columns), which count as public, and ``delta``, one number.
    """
    with np.load(Path(path), allow_pickle=False) as given:
        data = {name: given[name] for name in given.files}
    auc: dict[str, list[float]] = {"DP-EBM": [], "Opacus": []}
    for seed in SEEDS:
        for name, predicted in (("DP-EBM", dp_ebm(data, seed)), ("Opacus", opacus(data, seed))):
            auc[name].append(float(roc_auc_score(data["test_labels"], predicted)))
    return NoiseScores(auc)


def dp_ebm(data: dict[str, F64], seed: int) -> F64:
    """Interpret's private additive trees at their defaults, on raw columns."""
    low, high = data["bounds"]
    bounds = dict(enumerate(zip(low.tolist(), high.tolist(), strict=True)))
    model = DPExplainableBoostingClassifier(
        epsilon=EPSILON, delta=float(data["delta"]), privacy_bounds=bounds, random_state=seed, n_jobs=1
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the classes 0 and 1 are taken as public
        model.fit(data["raw"], data["labels"])
    found: F64 = model.predict_proba(data["test_raw"])[:, 1]
    return found


def opacus(data: dict[str, F64], seed: int) -> F64:
    """A logistic model on public bins by DP-SGD, Poisson batches, Opacus' own accountant (PRV)."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rows, labels = (torch.from_numpy(data[name]).float() for name in ("bins", "labels"))
    network = nn.Linear(rows.shape[1], 1)
    nn.init.zeros_(network.weight)
    private, optimizer, loader = PrivacyEngine(accountant="prv").make_private_with_epsilon(
        module=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=RATE),
        data_loader=DataLoader(TensorDataset(rows, labels), batch_size=BATCH),
        target_epsilon=EPSILON,
        target_delta=float(data["delta"]),
        epochs=EPOCHS,
        max_grad_norm=CLIP,
    )
    loss = nn.BCEWithLogitsLoss()
    for _ in range(EPOCHS):
        for part, truth in loader:
            optimizer.zero_grad()
            loss(private(part).squeeze(1), truth).backward()
            optimizer.step()
    with torch.no_grad():
        logits = network(torch.from_numpy(data["test_bins"]).float()).squeeze(1)
    found: F64 = logits.numpy().astype(np.float64)
    return found
