from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from fixtures.clock import virtual_options

from tds_runtime.examples import crash_and_restart, hello_tree, live_reconfiguration, pool_by_key, request_reply

ROOT = Path(__file__).parent.parent
HELLO = """\
the house opens
the greeter takes its place: hello/greeter
house is ready
greeter is ready
Hello, tree!
Hello, world!
the greeter goes home
the house closes
"""
CRASH = """\
life 1 begins
  adding '1'
  adding '2'
  adding 'three'
life 2 begins
  adding 'three'
life 3 begins
  adding '40'
  adding '50'
the sum of this life is 90
given up after 2 tries: 'three', because of ValueError: invalid literal for int() with base 10: 'three'
adder is ready after 2 restarts
"""
REQUEST = """\
2 tea for 6
no phlogiston today: CalleeCrashed: street/store crashed before it answered: KeyError: 'phlogiston'
3 tea for 9
no coffee today: AskTimeout: street/store did not answer Price within 0.2 s
store: 1 restarts
shop: 0 restarts
"""
POOL = """\
bank/customers/bob crashed; try 1 follows
bank/customers/bob crashed; try 2 follows
bank/customers/bob is quarantined for 60 s: KeyError: 'bob'
ada has 60
bob has 80
ada is ready in life 1
bob is ready in life 4
"""
LIVE = """\
  feeds/news follows /news
  feeds/jobs follows /jobs
another backoff:
  Applied(added=(), removed=(), restarted=(), updated=('feeds/news', 'feeds/jobs'))
jobs go, mail comes, news move:
  feeds/jobs says good-bye
  feeds/news says good-bye
  feeds/news follows /today
  feeds/mail follows /mail
  Applied(added=('feeds/mail',), removed=('feeds/jobs',), restarted=('feeds/news',), updated=())
nonsense:
  refused: a name is not empty and has no slash, got 'a/b'
news is ready in life 2
mail is ready in life 1
  feeds/mail says good-bye
  feeds/news says good-bye
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(
    ("example", "story"),
    [
        (hello_tree, HELLO),
        (crash_and_restart, CRASH),
        (request_reply, REQUEST),
        (pool_by_key, POOL),
        (live_reconfiguration, LIVE),
    ],
    ids=lambda part: getattr(part, "__name__", "").rpartition(".")[2],
)
def test_every_example_tells_its_story(example, story, backend):
    """The same lines in the same order on both backends, in less than two seconds of its clock."""
    lines: list[str] = []

    async def play() -> float:
        began = anyio.current_time()
        await example.main(lines.append)
        return anyio.current_time() - began

    assert anyio.run(play, backend=backend, backend_options=dict(virtual_options(backend))) < 2
    assert lines == story.splitlines()


@pytest.mark.parametrize("arguments", [[], ["trio"]], ids=["asyncio", "trio"])
def test_an_example_runs_from_the_command_line(arguments):
    """It prints its story and ends by itself, with nothing to say on stderr."""
    command = [sys.executable, "-m", "tds_runtime.examples.hello_tree", *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=60)
    assert (answer.stdout, answer.stderr) == (HELLO, "")


def test_the_engine_does_not_import_its_examples():
    """Examples are for reading; nobody pays for them at start."""
    script = "import sys, tds_runtime; print([name for name in sys.modules if 'examples' in name])"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "[]"
