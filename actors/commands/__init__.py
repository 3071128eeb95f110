"""The verbs of this daemon beside those of the engine, one room a noun."""

from actors.commands.line import main

__all__ = ["main"]
