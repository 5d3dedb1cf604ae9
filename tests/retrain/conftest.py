"""Shared fixtures: a pretrained toy model, made once, and a fresh lake."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from toy_language import toy_rows, toy_settings

from retrain.predictor import TorchPredictor
from retrain.train import pretrain
from schemas.lake import Lake


@pytest.fixture(scope="session")
def toy_model() -> TorchPredictor:
    return pretrain(toy_settings(), toy_rows(300, 1) + toy_rows(60, 2, split="dev"))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake").open(create=True)
