"""What the engine costs: messages against anyio's own stream, questions, restarts, starts and stops by the thousand."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from statistics import median, quantiles
from time import perf_counter

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from msgspec import Struct

from tds_runtime import Backoff, Budget, Call, Context, Inbox, Mailbox, Ref, Supervisor, actor, run

MESSAGES = 20_000
QUESTIONS = 3_000
CRASHES = 400
SIBLINGS = 1_000
ROUNDS = 5
BUFFER = 100

UNLIMITED = Budget(1_000_000)


class Item(Struct, frozen=True):
    """A message."""

    number: int


class Last(Struct, frozen=True):
    """The message after which the receiver sets an event."""

    done: anyio.Event


class Echo(Call[int], frozen=True):
    """A question."""

    number: int


class Crash(Struct, frozen=True):
    """Makes the actor crash, and its next incarnation note when it is there."""

    moments: list[float]


@actor(mailbox=Mailbox(BUFFER), backoff=Backoff(0), redeliver=1)
async def subject(ctx: Context, inbox: Inbox[Item | Last | Echo | Crash]) -> None:
    """Take messages, answer questions, crash when told to."""
    async for message in inbox:
        match message:
            case Item():
                pass
            case Echo(number):
                inbox.reply(message, number)
            case Last(done):
                done.set()
            case Crash(moments):
                _crash_or_come_back(ctx, moments)


def _crash_or_come_back(ctx: Context, moments: list[float]) -> None:
    moments.append(perf_counter())
    if len(moments) % 2:
        raise ZeroDivisionError(f"incarnation {ctx.incarnation}")


@actor()
async def idler(ctx: Context) -> None:
    """Be ready and wait."""
    ctx.ready()
    await ctx.stopping.wait()


async def measure() -> dict[str, float]:
    """All figures: ratios to the hand-written thing beside it, microseconds, seconds."""
    figures = {
        "tell_receive_ratio": await _ratio(_tell_and_receive, _send_and_receive),
        "ask_ratio": await _ratio(_ask, _ask_by_hand),
    }
    return figures | await _restarts() | await _thousands()


async def _ratio(ours: Callable[[], Awaitable[float]], theirs: Callable[[], Awaitable[float]]) -> float:
    """The median of interleaved rounds, so that a slow moment of the machine hits both sides."""
    await ours(), await theirs()
    return round(median([(await ours()) / (await theirs()) for _ in range(ROUNDS)]), 3)


# --- messages


async def _tell_and_receive() -> float:
    spec = subject()
    done = anyio.Event()
    async with run(Supervisor("bench", children=[spec])):
        ref: Ref[Item | Last] = spec.ref
        began = perf_counter()
        for number in range(MESSAGES):
            await ref.tell(Item(number))
        await ref.tell(Last(done))
        await done.wait()
        return (perf_counter() - began) / MESSAGES


async def _send_and_receive() -> float:
    sender: ObjectSendStream[Item | Last]
    receiver: ObjectReceiveStream[Item | Last]
    sender, receiver = anyio.create_memory_object_stream[Item | Last](BUFFER)
    done = anyio.Event()
    async with anyio.create_task_group() as group, sender:
        group.start_soon(_read, receiver)
        began = perf_counter()
        for number in range(MESSAGES):
            await sender.send(Item(number))
        await sender.send(Last(done))
        await done.wait()
        ended = perf_counter()
    return (ended - began) / MESSAGES


async def _read(receiver: ObjectReceiveStream[Item | Last]) -> None:
    async with receiver:
        async for message in receiver:
            match message:
                case Item():
                    pass
                case Last(done):
                    done.set()


# --- questions


async def _ask() -> float:
    spec = subject()
    async with run(Supervisor("bench", children=[spec])):
        began = perf_counter()
        for number in range(QUESTIONS):
            await spec.ref.ask(Echo(number))
        return (perf_counter() - began) / QUESTIONS


class _Question(Struct, eq=False):
    number: int
    answered: anyio.Event
    answer: int = 0


async def _ask_by_hand() -> float:
    """A question as one writes it without an engine: an event in the message, and a timeout around the wait."""
    sender, receiver = anyio.create_memory_object_stream[_Question](BUFFER)
    async with anyio.create_task_group() as group, sender:
        group.start_soon(_answer, receiver)
        began = perf_counter()
        for number in range(QUESTIONS):
            question = _Question(number, anyio.Event())
            with anyio.fail_after(5):
                await sender.send(question)
                await question.answered.wait()
        ended = perf_counter()
    return (ended - began) / QUESTIONS


async def _answer(receiver: ObjectReceiveStream[_Question]) -> None:
    async with receiver:
        async for question in receiver:
            question.answer = question.number
            question.answered.set()


# --- restarts


async def _restarts() -> dict[str, float]:
    """From the raise to the first message of the next incarnation, beside idle siblings; and what siblings cost."""
    few = await _latencies(10)
    many = await _latencies(10_000)
    beside = await _latencies(SIBLINGS)
    return {
        "restart_p50_us": round(median(beside), 1),
        "restart_p99_us": round(quantiles(beside, n=100)[98], 1),
        "crash_cost_ratio_10k_vs_10": round(median(many) / median(few), 3),
    }


async def _latencies(siblings: int) -> list[float]:
    spec = subject()
    idle = [idler().named(f"i{number}") for number in range(siblings)]
    latencies: list[float] = []
    async with run(Supervisor("bench", budget=UNLIMITED, children=[spec, *idle])):
        for _ in range(CRASHES):
            moments: list[float] = []
            await spec.ref.tell(Crash(moments))
            await spec.ref.ask(Echo(0))
            latencies.append((moments[1] - moments[0]) * 1e6)
    return latencies


# --- starts and stops


async def _thousands() -> dict[str, float]:
    """Growth is the middle of interleaved rounds, as a ratio is."""
    rounds = [(await _start_and_stop(1_000), await _start_and_stop(10_000)) for _ in range(ROUNDS)]
    return {
        "start_10k_s": round(median([start for _, (start, _stop) in rounds]), 3),
        "stop_10k_s": round(median([stop for _, (_start, stop) in rounds]), 3),
        "growth_1k_to_10k": round(median([sum(large) / sum(small) for small, large in rounds]), 2),
    }


async def _start_and_stop(children: int) -> tuple[float, float]:
    tree = Supervisor("bench", children=[idler().named(f"i{number}") for number in range(children)])
    gc.collect()
    began = perf_counter()
    async with run(tree, grace=60):
        started = perf_counter()
    return started - began, perf_counter() - started
