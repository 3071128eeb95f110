"""A supervision engine for structured concurrency."""

from tds_runtime.backoff import Backoff
from tds_runtime.budget import Budget
from tds_runtime.context import Context
from tds_runtime.inbox import Inbox
from tds_runtime.mailbox import Mailbox
from tds_runtime.outage import ride_out
from tds_runtime.pool import Partitions, Pool, partitions
from tds_runtime.ref import Call, Ref
from tds_runtime.runtime import Runtime, run
from tds_runtime.snapshot import Count, Snapshot
from tds_runtime.spec import Actor, Child, Spec, Supervisor, actor, child

__all__ = [
    "Actor",
    "Backoff",
    "Budget",
    "Call",
    "Child",
    "Context",
    "Count",
    "Inbox",
    "Mailbox",
    "Partitions",
    "Pool",
    "Ref",
    "Runtime",
    "Snapshot",
    "Spec",
    "Supervisor",
    "actor",
    "child",
    "partitions",
    "ride_out",
    "run",
]
