"""The network: joint intent classification and slot tagging.

word embedding + character CNN (+ projected encoder vector) -> 2-layer BiLSTM -> intent by attention pooling;
tags by an intent-conditioned projection and a linear-chain CRF under BIO constraints.

Sources: Liu and Lane 2016 (joint attention BiLSTM); Goo et al. 2018 (slot-gated: tags conditioned on the
intent); Ma and Hovy 2016 (character CNN, BiLSTM, CRF); Lample et al. 2016 (words dropped to UNK by
frequency). Shapes: B utterances, L tokens, T distinct words of a batch, C characters, K tags, I intents.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softmax

from retrain.vocabulary import Vocabulary

FORBIDDEN = -1e4  # a score no path survives, yet finite, so that no gradient becomes NaN
WORD_DROPOUT = 0.5  # alpha of alpha / (alpha + count): the chance that a word of that count is read as unknown
WORD_DROPOUT_FLOOR = 0.05  # frequent words too: the recogniser garbles them all
CHAR_WIDTHS = (2, 3, 4)


@dataclass(frozen=True)
class Architecture:
    """Sizes of the network; `vector_dimensions` is 0 without an encoder."""

    word_dimensions: int = 128
    char_dimensions: int = 48
    hidden: int = 160
    dropout: float = 0.3
    vector_dimensions: int = 0


@dataclass(frozen=True)
class Batch:
    """Tensors of B utterances: T distinct words, and which of them stands where.

    `word_ids` (T,), `chars` (T, C), `vectors` (T, V) or None, `tokens` (B, L) indices into the T words,
    `lengths` (B,) on the CPU.
    """

    word_ids: Tensor
    chars: Tensor
    vectors: Tensor | None
    tokens: Tensor
    lengths: Tensor

    @property
    def mask(self) -> Tensor:
        """bool (B, L): True at tokens."""
        return torch.arange(self.tokens.shape[1])[None, :] < self.lengths[:, None]


@dataclass(frozen=True)
class Partial:
    """Utterances of a batch of which only some tags are known: `rows` (P,), `allowed` bool (P, L, K), True at the tags
    that a token may have, and at all where nothing is known."""

    rows: Tensor
    allowed: Tensor


class CharacterWords(nn.Module):
    """A word's vector from its characters: convolutions of widths 2 to 4, maximum over positions (T, C) ->
    (T, F).
    """

    def __init__(self, chars: int, dimensions: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(chars, dimensions, padding_idx=0)
        self.kernels = nn.ModuleList(nn.Linear(width * dimensions, dimensions) for width in CHAR_WIDTHS)
        self.features = dimensions * len(CHAR_WIDTHS)

    def forward(self, chars: Tensor) -> Tensor:
        embedded = self.embedding(chars)
        found = []
        for width, kernel in zip(CHAR_WIDTHS, self.kernels, strict=True):
            # Windows as a matrix product: exact and deterministic, and as fast as conv1d at this size.
            windows = embedded.unfold(1, width, 1).permute(0, 1, 3, 2).flatten(2)
            found.append(torch.relu(kernel(windows)).amax(1))
        return torch.cat(found, -1)


class Network(nn.Module):
    """See the module. `word_features` is apart so that serving computes it once a word."""

    def __init__(self, architecture: Architecture, vocabulary: Vocabulary) -> None:
        super().__init__()
        a, intents, tags = architecture, len(vocabulary.intents), len(vocabulary.tags)
        self.architecture = a
        self.words = nn.Embedding(len(vocabulary.words), a.word_dimensions)
        nn.init.normal_(self.words.weight, std=1.0)
        self.characters = CharacterWords(len(vocabulary.chars), a.char_dimensions)
        width = a.word_dimensions + self.characters.features
        self.projection: nn.Linear | None = None
        if a.vector_dimensions:
            self.projection = nn.Linear(a.vector_dimensions, a.word_dimensions)
            width += a.word_dimensions
        self.dropout = nn.Dropout(a.dropout)
        self.lstm = nn.LSTM(width, a.hidden, 2, batch_first=True, bidirectional=True, dropout=a.dropout)
        for name, weights in self.lstm.named_parameters():
            if name.startswith("weight_ih"):
                nn.init.xavier_uniform_(weights)
            elif name.startswith("weight_hh"):
                for gate in weights.chunk(4):
                    nn.init.orthogonal_(gate)
            else:
                nn.init.zeros_(weights)
                if name.startswith("bias_ih"):
                    nn.init.ones_(weights[a.hidden : 2 * a.hidden])  # remember at first (Jozefowicz et al. 2015)
        self.attention = nn.Linear(2 * a.hidden, 1)
        self.bag = nn.Linear(width, a.hidden)
        self.intent = nn.Linear(5 * a.hidden, intents)
        self.intent_to_tags = nn.Linear(intents, a.hidden, bias=False)
        self.to_tags = nn.Linear(2 * a.hidden + width, a.hidden)
        self.tags = nn.Linear(a.hidden, tags)
        self.transitions = nn.Parameter(torch.zeros(tags, tags))
        self.starts = nn.Parameter(torch.zeros(tags))
        allowed, begins = bio_constraints(tags)
        self.allowed: Tensor
        self.begins: Tensor
        self.register_buffer("allowed", allowed, persistent=False)
        self.register_buffer("begins", begins, persistent=False)

    def word_features(self, word_ids: Tensor, chars: Tensor, vectors: Tensor | None) -> Tensor:
        """Input vectors of words: (T,), (T, C), (T, V) -> (T, W); the learnt embedding stands first."""
        parts = [self.words(word_ids), self.characters(chars)]
        if self.projection is not None:
            assert vectors is not None
            parts.append(torch.tanh(self.projection(vectors)))
        return torch.cat(parts, -1)

    def encode(self, inputs: Tensor, lengths: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, L, W) -> intent logits (B, I), tag scores (B, L, K)."""
        inputs = self.dropout(inputs)
        packed = nn.utils.rnn.pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
        states, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        states = self.dropout(states)
        gates = self.attention(states).squeeze(-1).masked_fill(~mask, FORBIDDEN)
        attended = (softmax(gates, 1).unsqueeze(-1) * states).sum(1)
        outside = ~mask.unsqueeze(-1)
        peak = states.masked_fill(outside, FORBIDDEN).amax(1)
        # The words themselves, past the LSTM: a bag of words learns from few rows what word order needs
        # many for.
        bag = torch.relu(self.bag(inputs)).masked_fill(outside, 0.0).amax(1)
        logits = self.intent(self.dropout(torch.cat([attended, peak, bag], -1)))
        hint = self.intent_to_tags(softmax(logits, -1)).unsqueeze(1)
        return logits, self.tags(self.dropout(torch.relu(self.to_tags(torch.cat([states, inputs], -1)) + hint)))

    def forward(self, batch: Batch, word_dropout: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Intent logits (B, I) and tag scores (B, L, K).

        Args:
            word_dropout: (words of the vocabulary,) chance that each is read as unknown; None while
            serving. Its
                characters stay, which is how the character module learns to carry unseen words.
        """
        features = self.word_features(batch.word_ids, batch.chars, batch.vectors)
        inputs = features[batch.tokens]
        if word_dropout is not None:
            dropped = torch.rand(batch.tokens.shape) < word_dropout[batch.word_ids][batch.tokens]
            d = self.architecture.word_dimensions
            unknown = self.words.weight[0].expand(*batch.tokens.shape, d)
            inputs = torch.cat([torch.where(dropped.unsqueeze(-1), unknown, inputs[..., :d]), inputs[..., d:]], -1)
        return self.encode(inputs, batch.lengths, batch.mask)

    def constrained(self) -> tuple[Tensor, Tensor]:
        """Transition scores (K, K) and start scores (K,) with what BIO forbids put out of reach."""
        return self.transitions.masked_fill(~self.allowed, FORBIDDEN), self.starts.masked_fill(~self.begins, FORBIDDEN)

    def tag_losses(self, scores: Tensor, tags: Tensor, mask: Tensor, partial: Partial | None = None) -> Tensor:
        """Negative log-likelihood of each tag sequence: (B, L, K), (B, L), (B, L) -> (B,); of utterances in `partial`,
        of all sequences that they may have together. O(B L K^2).

        Source: Tsuboi et al. 2008, "Training Conditional Random Fields Using Incomplete Annotations".
        """
        transitions, starts = self.constrained()
        of_all = crf_log_partition(scores, transitions, starts, mask)
        told = crf_score(scores, tags, transitions, starts, mask)
        if partial is not None:
            within = scores[partial.rows].masked_fill(~partial.allowed, FORBIDDEN)
            told = told.index_copy(0, partial.rows, crf_log_partition(within, transitions, starts, mask[partial.rows]))
        return of_all - told

    @torch.no_grad()
    def best_tags(self, scores: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Viterbi: tags (B, L) and log-probabilities of the sequences (B,). O(B L K^2)."""
        transitions, starts = self.constrained()
        tags = viterbi(scores, transitions, starts, mask)
        score = crf_score(scores, tags, transitions, starts, mask)
        return tags, score - crf_log_partition(scores, transitions, starts, mask)


def bio_constraints(tags: int) -> tuple[Tensor, Tensor]:
    """bool (K, K), (K,): which tag may follow which, and which may begin; I-x follows B-x and I-x only."""
    allowed, begins = torch.ones(tags, tags, dtype=torch.bool), torch.ones(tags, dtype=torch.bool)
    for inside in range(2, tags, 2):
        allowed[:, inside] = False
        allowed[inside - 1, inside] = allowed[inside, inside] = True
        begins[inside] = False
    return allowed, begins


def crf_score(scores: Tensor, tags: Tensor, transitions: Tensor, starts: Tensor, mask: Tensor) -> Tensor:
    """Unnormalised log-score of tag sequences, (B,)."""
    emitted = scores.gather(2, tags.unsqueeze(-1)).squeeze(-1) * mask
    moved = transitions[tags[:, :-1], tags[:, 1:]] * mask[:, 1:]
    return emitted.sum(1) + moved.sum(1) + starts[tags[:, 0]]


def crf_log_partition(scores: Tensor, transitions: Tensor, starts: Tensor, mask: Tensor) -> Tensor:
    """Log of the sum over all tag sequences, (B,). In probability space one matrix product a step."""
    moves = transitions.exp()
    alpha = starts + scores[:, 0]
    for i in range(1, scores.shape[1]):
        peak = alpha.amax(1, keepdim=True).detach()
        reached = ((alpha - peak).exp() @ moves).clamp_min(1e-30).log()
        alpha = torch.where(mask[:, i : i + 1], reached + peak + scores[:, i], alpha)
    return torch.logsumexp(alpha, 1)


def viterbi(scores: Tensor, transitions: Tensor, starts: Tensor, mask: Tensor) -> Tensor:
    """The best tag sequence of each utterance, (B, L); 0 past its end."""
    alpha, back = starts + scores[:, 0], []
    steps = scores.shape[1]
    still = torch.arange(scores.shape[2]).expand(scores.shape[0], -1)
    for i in range(1, steps):
        best, came = (alpha.unsqueeze(2) + transitions).max(1)
        on = mask[:, i : i + 1]
        alpha = torch.where(on, best + scores[:, i], alpha)
        back.append(torch.where(on, came, still))
    last = alpha.argmax(1)
    path = [last]
    for came in reversed(back):
        last = came.gather(1, last.unsqueeze(1)).squeeze(1)
        path.append(last)
    return torch.stack(path[::-1], 1) * mask


def grow(network: Network, vocabulary: Vocabulary) -> Network:
    """A network for a grown vocabulary: what was learnt stays, new words start as the unknown word does.

    New rows of output layers start as a fresh network's. The caller seeds torch.
    """
    larger = Network(network.architecture, vocabulary)
    old, new = network.state_dict(), larger.state_dict()
    for name, tensor in new.items():
        before = old[name]
        tensor[tuple(slice(0, n) for n in before.shape)] = before
        if name == "words.weight":
            tensor[before.shape[0] :] = before[0] + 0.01 * torch.randn_like(tensor[before.shape[0] :])
    larger.load_state_dict(new)
    return larger
