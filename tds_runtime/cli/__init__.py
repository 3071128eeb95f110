"""The verbs that every daemon built on this engine shares: `app(tree, Config)` is its command line."""

from tds_runtime.cli.application import app, launch
from tds_runtime.cli.output import Ended, Exit, Output
from tds_runtime.cli.session import DaemonConfig, Host, Options, Session

__all__ = ["DaemonConfig", "Ended", "Exit", "Host", "Options", "Output", "Session", "app", "launch"]
