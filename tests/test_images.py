from __future__ import annotations

from pathlib import Path

import pytest

from actors.zoho.client import Image
from actors.zoho.images import Pictures
from tds_runtime.errors import SourceAnswerInvalid

pytestmark = pytest.mark.anyio


def names(directory: Path) -> list[str]:
    return sorted(one.name for one in directory.iterdir())


async def test_a_picture_replaces_the_one_before(tmp_path: Path) -> None:
    """One file per item, typed by what the source says, also when the type changes; nothing else is left."""
    pictures = Pictures(tmp_path / "images")
    await pictures.save("1", Image("image/png", b"one"))
    path = await pictures.save("1", Image("image/jpeg", b"two"))
    assert names(tmp_path / "images") == ["1.jpg"]
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o644
    await pictures.remove("1")
    await pictures.remove("1")
    assert names(tmp_path / "images") == []


@pytest.mark.parametrize("kind", ["image/svg+xml", "text/html", "application/json", ""])
async def test_what_is_no_picture_is_refused(tmp_path: Path, kind: str) -> None:
    """A type that a browser could run, or none, is not kept."""
    with pytest.raises(SourceAnswerInvalid):
        await Pictures(tmp_path).save("1", Image(kind, b"<svg/>"))
    with pytest.raises(SourceAnswerInvalid):
        await Pictures(tmp_path).save("1", Image("image/png", b""))
    assert names(tmp_path) == []


@pytest.mark.parametrize("item", ["../../etc/passwd", "a/b", "", "..", "x" * 300, "\0", "é"])
async def test_an_id_is_never_a_path(tmp_path: Path, item: str) -> None:
    """Whatever an item is called, its file lies in the directory."""
    path = await Pictures(tmp_path).save(item, Image("image/png", b"x"))
    assert path.parent == tmp_path
    assert names(tmp_path) == [path.name]


async def test_a_failed_write_leaves_the_old_one(tmp_path: Path) -> None:
    """When the new file cannot take its place, the old one stays and no part is left."""
    pictures = Pictures(tmp_path)
    await pictures.save("1", Image("image/png", b"old"))
    (tmp_path / "1.jpg").mkdir()
    with pytest.raises(OSError, match=r".+"):
        await pictures.save("1", Image("image/jpeg", b"new"))
    assert (tmp_path / "1.png").read_bytes() == b"old"
    assert names(tmp_path) == ["1.jpg", "1.png"]
