"""Pictures of items as files: named by item, typed by what the source says, replaced atomically."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from anyio.to_thread import run_sync
from msgspec import Struct

from actors.zoho.client import Image
from tds_runtime.errors import SourceAnswerInvalid

SUFFIXES = {
    "image/jpeg": ".jpg",
    "image/jpg": ".jpg",
    "image/png": ".png",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "image/bmp": ".bmp",
}
"""What is kept; a type that a browser could run, such as SVG, is not."""

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section [images]; without a directory no picture is fetched."""

    directory: Path | None = None


class Pictures:
    """A directory of pictures: one file per item."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    async def save(self, item: str, image: Image) -> Path:
        """Keep this picture and no other of the item; readers see the old file or the new one, never a part.

        Raises:
            SourceAnswerInvalid: it is empty, or of a type that is not kept.
        """
        suffix = SUFFIXES.get(image.content_type)
        if suffix is None or not image.body:
            raise SourceAnswerInvalid(f"{image.content_type or 'no type'}, {len(image.body)} bytes: no picture to keep")
        return await run_sync(self._save, item, suffix, image.body)

    async def remove(self, item: str) -> None:
        """Keep no picture of the item."""
        await run_sync(self._forget, _stem(item), None)

    def _save(self, item: str, suffix: str, body: bytes) -> Path:
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / f"{_stem(item)}{suffix}"
        with NamedTemporaryFile(dir=self.directory, prefix=".part-", delete=False) as part:
            try:
                part.write(body)
                part.flush()
                os.fsync(part.fileno())
                Path(part.name).chmod(0o644)
                Path(part.name).replace(path)
            except OSError:
                Path(part.name).unlink(missing_ok=True)
                raise
        self._forget(_stem(item), path)
        return path

    def _forget(self, stem: str, keep: Path | None) -> None:
        for suffix in set(SUFFIXES.values()):
            other = self.directory / f"{stem}{suffix}"
            if other != keep:
                with suppress(FileNotFoundError):
                    other.unlink()


def _stem(item: str) -> str:
    """The item's id where it is a plain name, else something that is one."""
    return item if _PLAIN.fullmatch(item) else hashlib.sha256(item.encode("utf-8", "replace")).hexdigest()
