"""`openapi`: what the HTTP API is, for programs."""

from __future__ import annotations

from cyclopts import App

from actors import tree
from actors.configuration import Config
from tds_runtime.cli import Session


def register(app: App, session: Session[Config]) -> None:
    """Add `openapi` to the command line."""

    @app.command
    async def openapi() -> None:
        """Print the OpenAPI 3.1 document of the HTTP API, made of the types that decode its requests."""
        session.output.data(tree.described(session.load().value))
