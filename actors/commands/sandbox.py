"""`sandbox`: a Zoho that runs on this machine."""

from __future__ import annotations

from cyclopts import App

from actors.sandbox.__main__ import sandbox


def register(app: App) -> None:
    """Add `sandbox` to the command line."""
    app.command(sandbox)
