"""Decoded examples step by step, small enough to keep many: weights and probabilities in 8 bits, the rest as text.

    examples.json   of a finished run: one example per seed and length        {"examples": [{"seed", "length", …}, …]}

`Example` says what each has. A page shows them (`report.explorer`); no number of a row comes from them.
"""

import base64
import binascii
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from attention_jax.running import results
from attention_jax.system import files
from attention_jax.system.errors import DataError

FILE = "examples.json"

LEVELS = 255
"""A weight w is kept as round(w / peak · 255)."""


LARGEST = 1e12  # no norm is as large
MOST_PIXELS = 4_000_000  # of an image
PACKED = "weights", "shares", "image"  # bytes, base64 in JSON


class Example(NamedTuple):
    """One output: T tokens of a source of S, and what the decoder knew at each of these steps.

    `weights` has T·S bytes, step by step, each a share of `peak` in 1/255; None where the mechanism attends to nothing. `shares` has T·K
    bytes, the probabilities of `likely` in 1/255.
    """

    source: list[str]
    output: list[str]
    target: list[str] | None  # what was to be said; None where nobody knows
    weights: bytes | None
    peak: float  # 1, or the largest weight where that is above 1
    entropy: list[float]  # of the weights of each step, in nats; [] without weights
    norm: list[float]  # of the decoder's state at each step; [] where it is not known
    likely: list[list[str]]  # the K likeliest tokens of each step, likeliest first; [] where they are not known
    shares: bytes
    image: bytes | None = None  # PNG, in shades of grey, whose patches, row by row, the source's places are


def of(
    tokens: tuple[list[str], list[str], list[str] | None],
    weights_TxS: np.ndarray | None,
    norm_T: np.ndarray | None = None,
    likely: Sequence[Sequence[str]] = (),
    probability_TxK: np.ndarray | None = None,
    image_YxX: np.ndarray | None = None,
) -> Example:
    """Packs an example; `tokens` are (source, output, target). Weights that are all zero are those of a mechanism without.

    `image_YxX` are bytes from black to white.
    """
    packed, peak, entropy = None, 1.0, []
    if weights_TxS is not None and np.any(weights_TxS):
        weights_TxS = np.maximum(np.nan_to_num(np.asarray(weights_TxS, float)), 0)
        peak, entropy = max(1.0, float(weights_TxS.max())), [round(value, 3) for value in entropies(weights_TxS)]
        packed = _bytes(weights_TxS / peak)
    norm = [] if norm_T is None or not np.all(np.isfinite(norm_T)) else [float(f"{value:.4g}") for value in norm_T]
    shares = b"" if probability_TxK is None else _bytes(probability_TxK)
    drawn = None if image_YxX is None else _png(image_YxX)
    return Example(*tokens, packed, peak, entropy, norm, [list(each) for each in likely], shares, drawn)


def _png(image_YxX: np.ndarray) -> bytes:
    written = io.BytesIO()
    Image.fromarray(np.asarray(image_YxX, np.uint8)).save(written, "PNG")
    return written.getvalue()


def pixels(png: bytes) -> np.ndarray:
    """Reads the bytes of an image_YxX, from black to white. Raises `DataError` for what is no PNG in shades of grey, or a huge one."""
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            fits = image.mode == "L" and image.width * image.height <= MOST_PIXELS
            found = np.asarray(image) if fits else None
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"no PNG: {error}") from error
    if found is None:
        raise DataError(f"an image in shades of grey is needed, of {MOST_PIXELS} pixels at most")
    return found


def entropies(weights_TxS: np.ndarray) -> list[float]:
    """Computes the entropy of each row of weights in nats, -Σ w log w; of weights that sum to another mass than 1, of their shares."""
    shares_TxS = weights_TxS / np.maximum(weights_TxS.sum(1, keepdims=True), 1e-30)
    return [float(value) for value in -(shares_TxS * np.log(np.maximum(shares_TxS, 1e-30))).sum(1)]


def _bytes(shares: np.ndarray) -> bytes:
    return np.rint(np.clip(shares, 0, 1) * LEVELS).astype(np.uint8).tobytes()


def text(packed: bytes) -> str:
    """Returns bytes as base64."""
    return base64.b64encode(packed).decode()


def to_json(example: Example) -> dict[str, Any]:
    """Returns an example as JSON has it."""
    found = example._asdict()
    return found | {name: None if found[name] is None else text(found[name]) for name in PACKED}


def from_json(found: Any, where: str) -> Example:
    """Reads what `to_json` returned. Raises `DataError` that names `where` for anything else."""
    if not isinstance(found, dict) or not set(Example._fields) <= set(found):
        raise DataError(f"{where} is no decoded example: it needs {', '.join(Example._fields)}; remove the file")
    fields = {name: found[name] for name in Example._fields}
    try:
        packed: dict[str, Any] = {name: None if fields[name] is None else base64.b64decode(fields[name], validate=True) for name in PACKED}
    except (TypeError, ValueError, binascii.Error):
        raise DataError(f"{where} is no decoded example: {', '.join(PACKED)} must be base64; remove the file") from None
    example = Example(**fields | packed)
    if wrong := _wrong(example):
        raise DataError(f"{where} is no decoded example: {wrong}; remove the file")
    return example


def _wrong(example: Example) -> str:
    """Says what of an example does not fit; "" where all does."""
    if not all(map(_are_texts, (example.source, example.output, example.target or []))):
        return "source, output and target must be lists of tokens"
    S, T = len(example.source), len(example.output)
    if example.weights is not None and len(example.weights) != T * S:
        return f"weights must be {T} x {S} bytes"
    if not (_are_numbers(example.entropy, (0, T)) and _are_numbers(example.norm, (0, T))):
        return f"entropy and norm must be {T} numbers or none"
    if not _are_numbers([example.peak], (1,)) or example.peak < 1:
        return "peak must be a number, 1 or more"
    rows = example.likely
    if not isinstance(rows, list) or len(rows) not in (0, T) or not all(map(_are_texts, rows)) or len({len(row) for row in rows}) > 1:
        return f"likely must be {T} lists of as many tokens each"
    if example.shares is None or len(example.shares) != sum(map(len, rows)):
        return "shares must be a byte for each of the likely tokens"
    return _wrong_image(example)


def _wrong_image(example: Example) -> str:
    """Says what of an example's image does not fit its places; "" where all does."""
    try:
        count = 0 if example.image is None else pixels(example.image).size
    except DataError as error:
        return f"image: {error}"
    places = len(example.source)
    fits = count % places == 0 if places else count == 0
    return "" if fits else f"image must have equally many pixels for each of the {places} places"


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(token, str) for token in value)


def _are_numbers(value: Any, lengths: Sequence[int]) -> bool:
    """True for a list of finite numbers that are not negative, of one of these lengths."""
    is_list = isinstance(value, list) and len(value) in lengths
    return is_list and all(type(each) in (int, float) and 0 <= each < LARGEST for each in value)


def read(path: Path) -> list[dict[str, Any]]:
    """Reads an `examples.json`: [{"seed": int, "length": int, "example": Example}]. Raises `DataError` or `RunError` for anything else."""
    found = results.read_json(path).get("examples")
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise DataError(f"{path} holds no list of examples; remove the file")
    if not all(type(each.get(name)) is int for each in found for name in ("seed", "length")):
        raise DataError(f"{path}: an example needs a seed and a length, whole numbers; remove the file")
    return [{"seed": each["seed"], "length": each["length"], "example": from_json(each, str(path))} for each in found]


def write(path: Path, found: Sequence[tuple[int, int, Example]]) -> None:
    """Writes an `examples.json` of (seed, length, example), replacing it whole. Raises `StorageError` for a disk that refuses."""
    content = {"examples": [{"seed": seed, "length": length} | to_json(each) for seed, length, each in found]}
    files.write_bytes(path, json.dumps(content, allow_nan=False, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
