"""A user's own images, frames or speech: a folder → what each line of its lists names, read and validated, with file and line.

    train.tsv, validation.tsv, test.tsv     a line: name, tab, text; the name is a file's, from the folder
    test_….tsv                              further test sets, if there are any

    own_images     .png, .jpg, … whatever Pillow reads: grey, brought to signal.height pixels, each less its mean and by its standard
                   deviation, cut into patches
    own_frames     .npy, an array of S times x F numbers, float or integer, the same F in every file; as they are
    own_speech     .wav, whose log-mel features are computed (`sound`)

The whole folder is read, and everything wrong with it is found; training stops at the first fault, --check_data lists them all.
"""

import hashlib
import io
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from attention_jax.config import SignalConfig, check
from attention_jax.data.corpora import raw, words
from attention_jax.data.signals import canvas, log_mel, sound
from attention_jax.data.signals.examples import Read
from attention_jax.system import files
from attention_jax.system.errors import ConfigError, DataError
from attention_jax.types.citations import cites

SPLITS = ("train", "validation", "test")
LARGEST = 1 << 26  # bytes of a file
PIXELS = 1 << 24  # of an image
WIDEST = 1 << 14  # pixels of an image that is brought to its height


class Reader(NamedTuple):
    """A row of a user's own files: how one is read, F numbers at each position, and the rows of positions that a source has."""

    read: Read
    features: int
    rows: int = 1


class Item(NamedTuple):
    """What a line of a list names: the file's name, its text, and where the line is."""

    name: str
    text: str
    place: str
    features_SxF: np.ndarray
    content: str  # sha256 of the file


class Folder(NamedTuple):
    """What a folder holds: {split: its items}, everything wrong with it, and what is odd."""

    path: Path
    splits: dict[str, list[Item]]
    faults: list[str]
    notes: list[str]


def images(signal: SignalConfig) -> Reader:
    """Makes the reader of images. Raises `ConfigError` for settings that cannot be."""
    return Reader(partial(image, check(signal)), signal.patch**2, signal.height // signal.patch)


def image(signal: SignalConfig, data: bytes, where: str) -> np.ndarray:
    """Returns an image's patches, row by row: signal.height / signal.patch rows; the last column is drawn out to whole patches."""
    grey_YxX = grey(signal.height, data, where)
    scaled_YxX = (grey_YxX - grey_YxX.mean()) / max(float(grey_YxX.std()), 1.0)
    wide_YxX = np.pad(scaled_YxX, ((0, 0), (0, -scaled_YxX.shape[1] % signal.patch)), mode="edge")
    return canvas.patches(wide_YxX[None], signal.patch)[0]


def grey(height: int, data: bytes, where: str) -> np.ndarray:
    """Returns the grey_YxX of an image, bytes from black to white, so many pixels high and as wide as that makes it.

    Raises `DataError`, which begins with `where`, for what is no image, or a huge one.
    """
    from PIL import Image, UnidentifiedImageError  # for those who bring images alone

    bombs = Image.DecompressionBombError, Image.DecompressionBombWarning
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as found:
                if found.width * found.height > PIXELS:
                    raise DataError(f"{where} has {found.width} x {found.height} pixels, more than {PIXELS:,}")
                width = max(1, round(found.width * height / found.height))
                if width > WIDEST:
                    raise DataError(f"{where} is {width} pixels wide at signal.height={height}, more than {WIDEST}")
                return np.asarray(found.convert("L").resize((width, height), Image.Resampling.BILINEAR))
    except DataError:
        raise
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, *bombs) as error:
        raise DataError(f"{where} is no image that can be read ({' '.join(str(error).split())[:80]})") from None


def frames(signal: SignalConfig) -> Reader:
    """Makes the reader of frames. Raises `ConfigError` for settings that cannot be."""
    return Reader(partial(frame, check(signal)), signal.features)


def frame(signal: SignalConfig, data: bytes, where: str) -> np.ndarray:
    """Returns the frames of an .npy file. Raises `DataError` for anything but a finite array of times x signal.features."""
    try:
        found = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False, max_header_size=1000)
    except Exception as error:  # of damaged headers NumPy raises whatever its parser does
        raise DataError(f"{where} is no .npy file of numbers ({' '.join(str(error).split())[:80]})") from None
    if found.ndim != 2 or not found.size or found.dtype.kind not in "fiu":
        raise DataError(f"{where} has shape {found.shape} and type {found.dtype}; it must be times x numbers, of floats or integers")
    found = found.astype(np.float32)
    if not np.isfinite(found).all():
        raise DataError(f"{where} holds numbers that are not finite")
    if found.shape[1] != signal.features:
        raise DataError(f"{where} has {found.shape[1]} numbers at each time, and signal.features={signal.features}")
    return found


@cites("davis1980")
def speech(signal: SignalConfig) -> Reader:
    """Makes the reader of recorded speech. Raises `ConfigError` for settings that cannot be."""
    log_mel.filters(check(signal).rate, signal.mels)
    return Reader(partial(sound.features, signal), signal.mels * signal.stacked)


def folder_of(signal: SignalConfig, data_dir: Path | None) -> Path:
    """Returns the folder of `signal.folder`, from the current one or within `data_dir`, else `data_dir` itself."""
    if not signal.folder:
        if data_dir is None:
            raise ConfigError("signal.folder is not set: name the folder that holds train.tsv, or give it as --data_dir")
        return data_dir
    candidates = [Path(signal.folder).expanduser(), *([data_dir / signal.folder] if data_dir else [])]
    for path in candidates:
        if path.is_dir():
            return path
    raise DataError(f"signal.folder={signal.folder} is no folder (looked at {', '.join(map(str, candidates))})")


def scanned(path: Path, read: Read) -> Folder:
    """Reads all that a folder's lists name, and finds all that is wrong. Raises `DataError` where it is no folder."""
    if not path.is_dir():
        raise DataError(f"{path} is no folder: it must hold {', '.join(f'{split}.tsv' for split in SPLITS)}")
    further = sorted(file.stem for file in path.glob("test_*.tsv"))
    missing = [file for split in SPLITS if not (file := path / f"{split}.tsv").is_file()]
    faults = [f"{file} is missing; a line of it is: name, tab, text" for file in missing]
    found = Folder(path, {}, faults, [])
    for split in (*SPLITS, *further):
        file = path / f"{split}.tsv"
        if file.is_file():
            found.splits[split] = list(_items(found, file, read))
            if not found.splits[split] and not faults:
                found.faults.append(f"{file} names nothing that can be read")
    _compare(found)
    return found


def _items(found: Folder, file: Path, read: Read) -> Iterator[Item]:
    """Yields the items of a list that can be read; what is wrong with the others is added to the folder's faults."""
    try:
        lines = raw.text(raw.read_bytes(file), str(file)).removesuffix("\n").split("\n")
    except DataError as error:
        found.faults.append(str(error))
        return
    for number, line in enumerate(lines, start=1):
        place, (name, tab, text) = f"{file}, line {number}", line.partition("\t")
        name, text = name.strip(), words.collapsed(text)
        try:
            if not tab or not name or not text:
                problem = "has no tab" if not tab else "has no name" if not name else "has no text"
                raise DataError(f"{place} {problem}; a line is: name, tab, text")
            data = _content(found.path, name, place)
            yield Item(name, text, place, read(data, f"{place}: {name}"), hashlib.sha256(data).hexdigest())
        except DataError as error:
            found.faults.append(str(error))


def _content(path: Path, name: str, place: str) -> bytes:
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise DataError(f"{place}: {name} leads out of {path}")
    return content(path / name, place)


def content(file: Path, place: str) -> bytes:
    """Reads a file. Raises `DataError`, which begins with `place`, where it is missing, unreadable, or larger than `LARGEST`."""
    if not file.is_file():
        raise DataError(f"{place}: there is no file {file}")
    try:
        return files.read_bytes(file, LARGEST)
    except OSError as error:
        raise DataError(f"{place}: {file} cannot be read: {error.strerror or error}") from None


def _compare(found: Folder) -> None:
    """Adds faults for files whose content is in two splits, and notes for what is twice in one."""
    seen: dict[str, tuple[str, Item]] = {}
    for split, items in found.splits.items():
        for item in items:
            other, first = seen.setdefault(item.content, (split, item))
            same = f"{item.place}: {item.name} has the same content as {first.name} ({first.place})"
            if first is not item and other != split:
                found.faults.append(f"{same}, which is of another split")
            elif first is not item:
                found.notes.append(same)
