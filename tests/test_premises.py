"""Where the embedded Postgres lives when its own directory is closed to it."""

from pathlib import Path

import pytest

from tds_runtime import premises


def test_homes_are_abandoned_when_their_owners_directory_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home below /var/lib is cleared only when the directory that it stands for no longer exists."""
    monkeypatch.setattr(premises, "ELSEWHERE", tmp_path)
    for name, owner in (("kept", tmp_path), ("left", tmp_path / "removed")):
        (tmp_path / name).mkdir()
        (tmp_path / name / premises.NOTE).write_text(str(owner))
    (tmp_path / "programs-18").mkdir()
    assert premises.abandoned() == [tmp_path / "left"]
