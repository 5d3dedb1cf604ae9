"""A trained model that answers: `TorchPredictor`, saved as safetensors and JSON (no pickle, nothing
executed on load).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from retrain.batches import Lexicon
from retrain.bio import decode_bio, tokens_of
from retrain.encoder import SubwordVectors
from retrain.model import Architecture, Network
from retrain.vocabulary import Vocabulary
from schemas.errors import InputError
from schemas.normalise import Token
from schemas.predictor import Interpretation, Prediction

FORMAT = 1
N_BEST = 3
_BATCH = 256
_WORDS_KEPT = 200_000  # distinct words whose input vectors are cached; beyond it the cache starts anew
_CONFIG, _VOCABULARY, _WEIGHTS, _ENCODER = "config.json", "vocabulary.json", "model.safetensors", "encoder"


class TorchPredictor:
    """Implements `schemas.predictor.Predictor`.

    Confidence is P(intent) * P(tags)^(1 / L): the softmax of the intent logits over a temperature fitted on
    dev rows (Guo et al. 2017), times the geometric mean per token of the CRF's probability of the tag
    sequence, so that long utterances are not doubted for their length.

    Cost: about 5,000 utterances a second on two cores; 2 kB a distinct word seen.
    """

    def __init__(
        self,
        network: Network,
        vocabulary: Vocabulary,
        encoder: SubwordVectors | None = None,
        *,
        version: str = "unregistered",
        locale: str | None = None,
        temperature: float = 1.0,
    ) -> None:
        self.network, self.vocabulary, self.encoder = network.eval(), vocabulary, encoder
        self.locale, self.temperature, self._version = locale, temperature, version
        self._forget()

    @property
    def version(self) -> str:
        """Registered name and version, such as `sayagain-de-DE/3`."""
        return self._version

    def named(self, version: str) -> TorchPredictor:
        """The same model under another version; weights are shared."""
        return TorchPredictor(
            self.network,
            self.vocabulary,
            self.encoder,
            version=version,
            locale=self.locale,
            temperature=self.temperature,
        )

    def _forget(self) -> None:
        self._lexicon = Lexicon(self.vocabulary, self.encoder)
        self._features = torch.zeros(0)

    @torch.inference_mode()
    def _learn_words(self, words: Sequence[str]) -> None:
        if len(self._lexicon) > _WORDS_KEPT:
            self._forget()
        self._lexicon.add(words)
        for start in range(self._features.shape[0], len(self._lexicon), 4096):
            rows = slice(start, start + 4096)
            made = self.network.word_features(
                torch.from_numpy(self._lexicon.word_ids[rows]),
                torch.from_numpy(self._lexicon.chars[rows]),
                torch.from_numpy(self._lexicon.vectors[rows]) if self.encoder else None,
            )
            self._features = torch.cat([self._features, made]) if self._features.numel() else made

    @torch.inference_mode()
    def _scores(self, utterances: Sequence[np.ndarray]) -> tuple[Tensor, Tensor, Tensor]:
        """Intent log-probabilities (B, I), tags (B, L), log P(tags) / L (B,)."""
        lengths = torch.tensor([len(u) for u in utterances])
        tokens = torch.zeros(len(utterances), int(lengths.max()), dtype=torch.long)
        mask = torch.arange(tokens.shape[1])[None, :] < lengths[:, None]
        tokens[mask] = torch.from_numpy(np.concatenate(utterances))
        logits, scores = self.network.encode(self._features[tokens], lengths, mask)
        tags, log_probability = self.network.best_tags(scores, mask)
        return (logits / self.temperature).log_softmax(-1), tags, log_probability / lengths

    def intent_logits(self, utterances: Sequence[str]) -> Tensor:
        """Uncalibrated-by-construction log-probabilities (n, intents) at this predictor's temperature."""
        return self._run(utterances)[0]

    def _run(self, utterances: Sequence[str]) -> tuple[Tensor, list[np.ndarray], Tensor, list[list[Token]]]:
        tokens = [tokens_of(u) for u in utterances]
        self._learn_words([t.text for ts in tokens for t in ts])
        coded = [self._lexicon.indices([t.text for t in ts]) for ts in tokens]
        order = sorted(range(len(coded)), key=lambda i: (len(coded[i]), i))
        intents = torch.zeros(len(coded), len(self.vocabulary.intents))
        confidences = torch.zeros(len(coded))
        tags: list[np.ndarray] = [np.zeros(0, np.int64)] * len(coded)
        for start in range(0, len(order), _BATCH):
            chosen = order[start : start + _BATCH]
            log_intents, found, log_tags = self._scores([coded[i] for i in chosen])
            intents[chosen], confidences[chosen] = log_intents, log_tags
            for i, row in zip(chosen, found.numpy(), strict=True):
                tags[i] = row
        return intents, tags, confidences, tokens

    def predict(self, utterances: Sequence[str], locale: str = "") -> list[Prediction]:
        """One prediction an utterance, in order; the two next best intents with the same spans behind it.

        `locale` is part of the protocol; a model serves whatever language its training gave it.
        """
        if not utterances:
            return []
        log_intents, tags, log_tags, tokens = self._run(utterances)
        best = log_intents.topk(min(N_BEST, log_intents.shape[1]), -1)
        confidences = (best.values + log_tags[:, None]).exp().clamp(0, 1).tolist()
        names, tag_names = self.vocabulary.intents, self.vocabulary.tags
        predictions = []
        for i, (utterance, row) in enumerate(zip(utterances, best.indices.tolist(), strict=True)):
            found = [tag_names[t] for t in tags[i][: len(tokens[i])].tolist()]
            found += ["O"] * (len(tokens[i]) - len(found))
            slots = decode_bio(utterance, tokens[i], found)
            ranked = [(Interpretation(names[k], slots), p) for k, p in zip(row, confidences[i], strict=True)]
            predictions.append(Prediction(ranked[0][0], ranked[0][1], tuple(ranked[1:])))
        return predictions

    def save(self, folder: Path | str) -> Path:
        """Write the model to a folder that `load` reads; returns it. 4 bytes a parameter."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "format": FORMAT,
            "version": self._version,
            "locale": self.locale,
            "temperature": self.temperature,
            "architecture": asdict(self.network.architecture),
        }
        self.vocabulary.save(folder / _VOCABULARY)
        if self.encoder is not None:
            self.encoder.save(folder / _ENCODER)
        save_file({k: v.contiguous() for k, v in self.network.state_dict().items()}, folder / _WEIGHTS)
        # Last, so that a folder with a config is whole.
        (folder / _CONFIG).write_text(json.dumps(config, indent=1), encoding="utf-8")
        return folder

    @classmethod
    def load(cls, folder: Path | str, version: str | None = None) -> TorchPredictor:
        """Read what `save` wrote.

        Raises:
            InputError: no model there, or one of a newer format.
        """
        folder = Path(folder)
        try:
            config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise InputError(f"no model in {folder}: {_CONFIG} is missing or damaged") from None
        if config["format"] > FORMAT:
            raise InputError(f"the model in {folder} has format {config['format']}; this program reads up to {FORMAT}")
        vocabulary = Vocabulary.load(folder / _VOCABULARY)
        encoder = SubwordVectors(folder / _ENCODER) if (folder / _ENCODER).is_dir() else None
        network = Network(Architecture(**config["architecture"]), vocabulary)
        network.load_state_dict(load_file(folder / _WEIGHTS))
        return cls(
            network,
            vocabulary,
            encoder,
            version=version or config["version"],
            locale=config["locale"],
            temperature=config["temperature"],
        )
