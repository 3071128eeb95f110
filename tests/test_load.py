"""The sender of the benches: what it counts as an answer, and from when it counts."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import pytest

from actors.bench import load

OK = b"HTTP/1.1 200 \r\ncontent-length: 2\r\n\r\n{}"


@contextmanager
def receiver(answer: bytes, *, first_after: float = 0.0) -> Iterator[int]:
    """A port that answers each request, in two parts, the first of all after a pause that holds up every other."""
    began = time.monotonic()
    turn, pause = threading.Lock(), threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):  # the sender has left
            while connection.recv(65536):
                with turn:
                    pause.wait(max(0.0, began + first_after - time.monotonic()))
                connection.sendall(answer[:20])
                connection.sendall(answer[20:])

    def accept() -> None:
        with suppress(OSError):  # the test is over
            while True:
                threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]


def test_every_request_is_answered_once() -> None:
    """As many latencies as requests, none of them negative, more requests than connections."""
    with receiver(OK) as port:
        sent = load.flat_out(port, [b"x" * 100] * 100)
    assert len(sent.latencies) == 100
    assert min(sent.latencies) > 0


def test_a_receiver_that_stands_still_is_charged_for_all_that_was_due() -> None:
    """Requests that were due during the pause count from then, also those that found no free connection."""
    with receiver(OK, first_after=0.3) as port:
        sent = load.paced(port, [b"x" * 100] * 100, 1000.0)
    assert load.percentile(sent.latencies, 0.5) > 0.15


def test_a_refusal_makes_no_figure() -> None:
    """One answer that is no 2xx ends the bench."""
    with (
        receiver(b"HTTP/1.1 503 \r\ncontent-length: 0\r\n\r\n") as port,
        pytest.raises(load.Unacknowledged, match="503"),
    ):
        load.flat_out(port, [b"x"])


def test_webhooks_are_distinct_and_signed_over_their_body() -> None:
    """Each has a record, a version and a signature of its own."""
    made = [
        *load.requests(range(2)),
        *load.requests(range(2), version=1),
        *load.requests(range(2), secret="another one"),
    ]
    heads = {request.partition(b"\r\n\r\n")[0] for request in made}
    assert len(set(made)) == len(heads) == 6
