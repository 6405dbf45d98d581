"""A folder for files of any content, archives, and what an error must look like."""

import atexit
import io
import re
import shutil
import tempfile
import zipfile
from pathlib import Path

FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
WHERE = "the/file"


def one_line(error: Exception, *said: str) -> None:
    """The text of an error is one line, not endless, and says these (regular expressions)."""
    text = str(error)
    assert text.isprintable() and len(text) < 6100, ascii(text)
    for part in said:
        assert re.search(part, text), (part, text)


def file_of(data: bytes) -> Path:
    """A file with this content; the next call replaces it."""
    path = FOLDER / "file"
    path.write_bytes(data)
    return path


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A .zip of these."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for path, content in members.items():
            archive.writestr(zipfile.ZipInfo(path), content, method)
    return file.getvalue()
