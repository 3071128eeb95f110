"""The admin HTTP routes: a table of endpoints by subject, each with the role that it asks for."""

from actors.api.application import application
from actors.api.authentication import Options
from actors.api.services import Services

__all__ = ["Options", "Services", "application"]
