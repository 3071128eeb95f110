"""`run`: the daemon itself, from its configuration to its exit code."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from socket import socket

import anyio

from tds_runtime import config, http, journal, logs
from tds_runtime.cli.output import Ended, Exit, Output
from tds_runtime.cli.reloading import Reloading
from tds_runtime.cli.session import C, Host, Options, Session
from tds_runtime.incarnation import collapse
from tds_runtime.runtime import run
from tds_runtime.spec import Supervisor
from tds_runtime.tap import Tap


def run_daemon(session: Session[C]) -> int:
    """Start the daemon and stay until it is told to stop (SIGTERM, Ctrl-C); SIGHUP reads the configuration again.

    Exit code 0 after an orderly stop, 1 when the tree has given up, so that the service manager starts it again.
    """
    loaded = session.load()
    settings = loaded.value
    tap = Tap()
    logging = logs.configure(settings.log, secrets=config.secrets(settings), observers=[tap.observe])
    try:
        with _bound(settings.http) as listening:
            logs.get("process").info("process.starting", config=str(loaded.path), address=http.address(listening))
            host = Host(listening, tap)
            reload = Reloading(session, host, logging, settings)
            serve = partial(_serve, session.tree(settings, host), settings.runtime, host, session.output, reload)
            anyio.run(serve, backend="asyncio")
    except BaseExceptionGroup as group:
        raise collapse(group) from None
    else:
        logs.get("process").info("process.stopped")
    finally:
        logging.close()
    return Exit.OK


def _bound(options: http.Options) -> socket:
    try:
        return http.listen_socket(options.bind, backlog=options.backlog)
    except OSError as error:
        raise Ended(f"cannot listen on {options.bind}: {error.strerror}; `[http] bind` says where to listen") from error


async def _serve(
    tree: Supervisor, options: Options, host: Host, output: Output, reload: Callable[[], Awaitable[None]]
) -> None:
    runtime = host.runtime = run(
        tree,
        grace=options.grace,
        signals=True,
        sd_notify=True,
        blocked_after=options.blocked_after,
        on_hangup=reload,
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(journal.follow, runtime.events())
        async with runtime:
            if output.stderr.is_terminal:
                output.note(f"Ready. http://{http.address(host.listening)} - stop with Ctrl-C")
            await runtime.wait()
