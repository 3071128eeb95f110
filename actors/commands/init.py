"""`init`: a directory in which `tds-runtime run` works."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

from cyclopts import App

from tds_runtime.cli import Ended, Exit, Output

PARTS = ("tds.toml", "config", "ops")
_HERE = Path(__file__).parents[2]


def register(app: App, output: Output) -> None:
    """Add `init` to the command line."""

    @app.command
    def init(directory: Path, /, *, force: bool = False) -> None:
        """Copy the sample configuration, the entity mappings and the operating files into a directory.

        Args:
            directory: where to; it is made when it is absent.
            force: replace files that are there.
        """
        source = samples()
        wanted = [path for part in PARTS for path in _files(source / part)]
        present = [path for path in wanted if (directory / path.relative_to(source)).exists()]
        if present and not force:
            names = ", ".join(str(path.relative_to(source)) for path in present[:3])
            raise Ended(f"{directory} already has {names}: nothing was copied (--force replaces).", Exit.CONFLICT)
        for path in wanted:
            target = directory / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        output.line(str(directory.absolute() / "tds.toml"))
        output.note(f"{len(wanted)} files. Next: cd {directory} && tds-runtime run")


def samples(checkout: Path = _HERE, data: Path | None = None) -> Path:
    """Where the sample files are: the checkout of an editable install, else the data of the installed wheel."""
    if (checkout / "pyproject.toml").is_file() and (checkout / "tds.toml").is_file():
        return checkout
    installed = (data or Path(sysconfig.get_path("data"))) / "share" / "tds-runtime"
    if not (installed / "tds.toml").is_file():
        raise Ended(f"the sample files are not in {installed}: install tds-runtime from its wheel")
    return installed


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(inner for inner in path.rglob("*") if inner.is_file())
