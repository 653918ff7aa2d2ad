"""Trains a small classifier on a sample bucket, from a cohort to metrics; docs/ready_to_train.md explains each step.

    pip install scikit-learn
    python examples/train.py [FOLDER]

Half a minute on a CPU. The lungs of positive patients are hazy at their bases in the sample, so there is something to
learn. The code is the same for real films, but the features (the brightness of a 12 x 12 grid) and the model are toys.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import warehouse
from warehouse.synthetic import make_bucket

GRID = 12
SIDES = ("train", "tune", "test")


def main(folder: Path) -> None:
    """Make a sample, ask a cohort, split it, download its films, train and evaluate."""
    make_bucket(folder / "bucket", patients=250, seed=1)
    warehouse.refresh(folder / "bucket", folder / "lake")

    with warehouse.open(folder / "lake") as wh:
        cohort = wh.cohort("covid_risk", as_of="2020-12-31").split(train=60, tune=20, test=20, seed=1)
        manifest = cohort.export(folder / "films", objects=("dcm",))
        citation = wh.cite().text
    warehouse.download(manifest, folder / "data", lake_address=str(folder / "lake"))

    films = {side: load_films(manifest, side, folder / "data") for side in SIDES}
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=1000))
    model.fit(*films["train"])

    threshold = choose_threshold(model, *films["tune"])
    metrics = {side: evaluate(model, threshold, *films[side]) for side in SIDES}
    for side, values in metrics.items():
        print("{:<5}  {films:>4} films  AUC {auc:.2f}  balanced accuracy {accuracy:.2f}".format(side, **values))

    card = {"manifest": manifest.digest, "data": citation, "threshold": threshold, "metrics": metrics}
    (folder / "model.json").write_text(json.dumps(card, indent=2) + "\n")
    print(f"{folder / 'model.json'}: metrics, with the digest of the manifest that the model was trained from")


def load_films(manifest: warehouse.Manifest, side: str, data: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the films of a side: features of shape (films, GRID * GRID), and 1 for positive."""
    found = [
        (describe_image(warehouse.read_image(path)), labels["covid_status"] == "positive")
        for path, labels in manifest.sides[side].files(data)
    ]
    features, labels = zip(*found, strict=True)
    return np.stack(features), np.array(labels, dtype=int)


def describe_image(image: np.ndarray) -> np.ndarray:
    """Average the brightness over a grid, relative to the whole film: exposure differs between machines."""
    rows, columns = (np.array_split(np.arange(n), GRID) for n in image.shape)
    grid = np.array([[image[np.ix_(r, c)].mean() for c in columns] for r in rows])
    return ((grid - grid.mean()) / (grid.std() + 1e-6)).ravel()


def choose_threshold(model: LogisticRegression, features: np.ndarray, labels: np.ndarray) -> float:
    """Choose the probability that separates best on the tuning side: never on the test side."""
    scores = model.predict_proba(features)[:, 1]
    return float(max(np.unique(scores), key=lambda t: balanced_accuracy_score(labels, scores >= t)))


def evaluate(model: LogisticRegression, threshold: float, features: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Measure the model on one side."""
    scores = model.predict_proba(features)[:, 1]
    return {
        "films": len(labels),
        "auc": float(roc_auc_score(labels, scores)),
        "accuracy": float(balanced_accuracy_score(labels, scores >= threshold)),
    }


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
