"""Turn words of an encoder's vocabulary into the hidden vectors that its layers start from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwsim.core.errors import InputError
from models.llm.config import read_config
from models.llm.safetensors_file import SafetensorsFile

__all__ = ["embed_words", "word_ids"]


def word_ids(folder: Path, words: Sequence[str]) -> list[int]:
    """Return the places of ``words`` in the folder's ``vocab.txt``, between [CLS] and [SEP].

    Raises :class:`InputError` naming a word that is no entry: there is no splitting into pieces.
    """
    entries = (folder / "vocab.txt").read_text().split("\n")
    places = {word: place for place, word in enumerate(entries)}
    for word in words:
        if word not in places:
            raise InputError("words", "words of the vocabulary", repr(word))
    return [places[word] for word in ("[CLS]", *words, "[SEP]")]


def embed_words(folder: Path, ids: Sequence[int]) -> NDArray[np.float32]:
    """Return BERT's normalised sum of word, position and type vectors, [1, tokens, hidden]."""
    file = SafetensorsFile(folder / "model.safetensors")
    x = file.read("embeddings.word_embeddings.weight")[list(ids)]
    x = x + file.read("embeddings.position_embeddings.weight")[: len(ids)]
    x = x + file.read("embeddings.token_type_embeddings.weight")[0]
    epsilon = read_config(folder / "config.json").epsilon
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon)
    scale, shift = (file.read(f"embeddings.LayerNorm.{part}") for part in ("weight", "bias"))
    return np.asarray((x * scale + shift)[None], np.float32)
