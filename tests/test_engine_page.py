from __future__ import annotations

import ast
import builtins
import inspect
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import indent
from typing import Any

import anyio
import pytest
from fixtures.clock import virtual_options
from fixtures.trees import next_event

import tds_runtime
from tds_runtime import Backoff, Budget, Mailbox, Pool, Runtime, Spec, Supervisor, errors, events, mailbox, spec
from tds_runtime.change import Applied
from tds_runtime.events import TreeReady
from tds_runtime.outage import ride_out
from tds_runtime.snapshot import Count

PAGE = Path(tds_runtime.__file__).parent / "README.md"
TEXT = PAGE.read_text()
BLOCKS = [
    (TEXT.count("\n", 0, found.start(1)), found.group(1))
    for found in re.finditer(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
]
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line.startswith("| `")]


async def play(until: int | None = None) -> dict[str, Any]:
    """Run the blocks one after the other in one namespace, and the tests that they define."""
    namespace: dict[str, Any] = {"__name__": "engine_page"}
    for line, block in BLOCKS[:until]:
        known = set(namespace)
        code = compile("\n" * line + block, PAGE, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        result = eval(code, namespace)
        if inspect.isawaitable(result):
            await result
        for name in sorted(set(namespace) - known):
            if name.startswith("test_"):
                await namespace[name]()
    return namespace


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_every_block_of_the_page_runs(backend):
    """In order, in virtual time, and what they assert holds."""
    began = anyio.run(play, backend=backend, backend_options=dict(virtual_options(backend)))
    assert {"main", "test_the_function_alone"} <= set(began)


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.anyio
async def test_the_program_of_the_page_ends_at_sigterm(anyio_backend, monkeypatch):
    """The block that takes on the duties of a process runs as it stands, and stops in order."""
    started: list[Any] = []
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    namespace = await play(2)
    block = next(block for _, block in BLOCKS if "signals=True" in block)
    exec(compile(block, PAGE, "exec", dont_inherit=True), namespace)
    original = namespace["run"]
    namespace["run"] = lambda *args, **options: started.append(original(*args, **options)) or started[0]
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(namespace["main"])
            while not started:
                await anyio.lowlevel.checkpoint()
            with started[0].events() as happened:
                await next_event(happened, TreeReady)
                os.kill(os.getpid(), signal.SIGTERM)
    assert started[0].failure is None


def test_every_block_is_typed(tmp_path):
    """A strict mypy takes the page as one module, and each ignored error is one that it finds."""
    source = tmp_path / "page.py"
    source.write_text("async def page() -> None:\n" + indent("\n".join(block for _, block in BLOCKS), "    "))
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--cache-dir",
        str(tmp_path / "cache"),
        "--no-pretty",
        str(source),
    ]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.stdout.startswith("Success"), found.stdout


def test_the_table_of_options_is_whole_and_true():
    """Each option of an actor stands there with its default."""
    table = {row[0].strip("`"): row[1].strip("`") for row in ROWS if row[0].strip("`") in spec.Settings.__annotations__}
    assert set(table) == set(spec.Settings.__annotations__)
    names = {"Backoff": Backoff, "Mailbox": Mailbox}
    fields = dict(zip(Spec.__struct_fields__[-len(Spec.__struct_defaults__) :], Spec.__struct_defaults__, strict=True))
    assert {name: eval(default, names) for name, default in table.items()} == {name: fields[name] for name in table}


def test_signatures_with_defaults_are_true():
    """Where the page writes a call with its defaults, they are those of the code."""
    assert Backoff(initial=0.1, cap=60.0, factor=2.0, jitter=0.1, reset_after=60.0) == Backoff()
    assert Budget(restarts=3, per=60.0) == Budget(3, 60.0) == Budget() == Supervisor("s").budget
    assert Mailbox(capacity=256, overflow="block") == Mailbox()
    defaults = {
        (function.__qualname__, name): parameter.default
        for function in (tds_runtime.run, tds_runtime.Ref.ask, ride_out, Runtime.events)
        for name, parameter in inspect.signature(function).parameters.items()
    }
    assert defaults["run", "grace"] == 25.0
    assert defaults["Ref.ask", "timeout"] == 5.0
    assert defaults["ride_out", "cap"] == 2.0
    assert (Supervisor("s").start_timeout, Supervisor("s").stop) == (float("inf"), float("inf"))
    assert Pool("p", template=tds_runtime.actor()(play)).limit == float("inf")


def _known(name: str) -> bool:
    """Whether a name that the page writes as code is one of ours."""
    owners = [
        tds_runtime,
        tds_runtime.change,
        errors,
        events,
        mailbox,
        spec,
        tds_runtime.Context,
        tds_runtime.Inbox,
        tds_runtime.Ref,
    ]
    owners += [Runtime, Pool, Supervisor, Spec, Applied, Count, builtins, tds_runtime.Actor]
    return any(hasattr(owner, name) for owner in owners)


def test_every_name_of_the_page_exists():
    """Classes and methods that the text names are there."""
    prose = re.sub(r"^```.*?^```$", "", TEXT, flags=re.DOTALL | re.MULTILINE)
    code = " ".join(re.findall(r"`([^`]+)`", prose))
    classes = set(re.findall(r"\b[A-Z][a-z]+[A-Za-z]+\b", re.sub(r"\"[^\"]*\"", "", code)))
    methods = set(re.findall(r"\b(?:ctx|inbox|ref|runtime|pool|spec|actor)\.([a-z_]+)", code))
    assert sorted(name for name in classes | methods if not _known(name)) == []
    listed = {name for name, kind in vars(events).items() if inspect.isclass(kind) and issubclass(kind, events.Event)}
    assert listed - {"Event"} <= classes
