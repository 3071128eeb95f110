"""A Zoho that runs on a laptop: Books v3, Inventory v1, OAuth and workflow webhooks, faithful to what was recorded."""

from actors.sandbox.options import Announcement, Options
from actors.sandbox.server import serve

__all__ = ["Announcement", "Options", "serve"]
