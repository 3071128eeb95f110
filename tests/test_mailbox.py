from __future__ import annotations

from typing import Protocol

import anyio
import pytest
from anyio.lowlevel import checkpoint
from fixtures.trees import next_event, seen
from msgspec import Struct

from tds_runtime import Backoff, Budget, Call, Context, Inbox, Mailbox, Supervisor, actor, run
from tds_runtime.envelope import MESSAGES_PER_CHECKPOINT, Answer
from tds_runtime.errors import (
    AskCycle,
    AskTimeout,
    CalleeCrashed,
    CalleeStopped,
    MailboxFull,
    NotRunning,
    QuestionDropped,
    SpecError,
    Stopped,
    Unanswered,
    WrongMessage,
)
from tds_runtime.events import ChildEnded, ChildReady, Undelivered
from tds_runtime.mailbox import CORRELATION

AT_ONCE = Backoff(0)
PLENTY = Budget(1_000_000)


class Say(Struct, frozen=True):
    word: str


class Boom(Struct, frozen=True):
    pass


class Lives(Call[int], frozen=True):
    """Asks for the number of the incarnation."""


class Silence(Call[int], frozen=True):
    """Is never answered."""


class Never(Call[int], frozen=True):
    """Keeps the actor busy for ever."""


@pytest.fixture
def anyio_backend(virtual_backend):
    return virtual_backend


@actor(backoff=AT_ONCE)
async def listener(ctx: Context, inbox: Inbox[Say | Boom | Lives | Silence | Never], *, heard: list[str]) -> None:
    async for message in inbox:
        match message:
            case Say(word):
                heard.append(word)
            case Boom():
                raise ValueError("boom")
            case Lives():
                inbox.reply(message, ctx.incarnation)
            case Silence():
                pass
            case Never():
                await anyio.sleep_forever()


@actor()
async def gated(ctx: Context, inbox: Inbox[Say | Lives], *, gate: anyio.Event, heard: list[str]) -> None:
    ctx.ready()
    await gate.wait()
    async for message in inbox:
        match message:
            case Say(word):
                heard.append(word)
            case Lives():
                inbox.reply(message, ctx.incarnation)


def tree(*children, budget=PLENTY):
    return Supervisor("tree", budget=budget, children=children)


# --- tell and offer


@pytest.mark.anyio
async def test_messages_arrive_in_order():
    """One sender's messages are handled in the order they were sent, far beyond the capacity."""
    heard: list[str] = []
    spec = listener(heard=heard).options(mailbox=Mailbox(3))
    async with run(tree(spec)):
        for number in range(100):
            await spec.ref.tell(Say(str(number)))
        await spec.ref.ask(Lives())
    assert heard == [str(number) for number in range(100)]


@pytest.mark.anyio
async def test_tell_waits_for_room_in_turn():
    """With overflow "block" senders wait, each pop lets one in, and nobody gets past those that wait."""
    gate, heard = anyio.Event(), []
    spec = gated(gate=gate, heard=heard).options(mailbox=Mailbox(2))
    async with run(tree(spec)), anyio.create_task_group() as senders:
        for number in range(5):
            senders.start_soon(spec.ref.tell, Say(str(number)))
            await anyio.wait_all_tasks_blocked()
        assert spec.ref.statistics().blocked_senders == 3
        assert not spec.ref.offer(Say("pushing in"))
        gate.set()
    assert heard[:2] == ["0", "1"]
    assert sorted(heard[2:]) == ["2", "3", "4"]  # trio shuffles those whose turn comes in one batch


@pytest.mark.anyio
async def test_a_granted_place_is_taken_by_nobody_else():
    """Between the pop that lets a waiting sender in and that sender's next step, its place is not free."""
    gate, heard = anyio.Event(), []
    spec = gated(gate=gate, heard=heard).options(mailbox=Mailbox(1), stop=0)
    async with run(tree(spec)), anyio.create_task_group() as group:
        await spec.ref.tell(Say("first"))
        group.start_soon(spec.ref.tell, Say("waits"))
        await anyio.wait_all_tasks_blocked()
        box = spec.ref.address.box
        box.lease()
        assert not spec.ref.offer(Say("pushes in"))
        await anyio.wait_all_tasks_blocked()
        assert [envelope.message.word for envelope in box.waiting] == ["waits"]
        gate.set()


@pytest.mark.anyio
async def test_a_cancelled_tell_has_sent_nothing():
    """A tell that was cancelled while it waited for room left no message and no place behind."""
    gate, heard = anyio.Event(), []
    spec = gated(gate=gate, heard=heard).options(mailbox=Mailbox(1))
    async with run(tree(spec)):
        await spec.ref.tell(Say("one"))
        with anyio.move_on_after(1):
            await spec.ref.tell(Say("cancelled"))
        assert spec.ref.statistics().blocked_senders == 0
        gate.set()
        await spec.ref.tell(Say("two"))
        await anyio.wait_all_tasks_blocked()
    assert heard == ["one", "two"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("overflow", "expected"),
    [("drop_oldest", ["3", "4"]), ("drop_newest", ["0", "1"])],
)
async def test_dropping_policies(overflow, expected):
    """drop_oldest keeps the newest, drop_newest the oldest; neither waits, both count."""
    gate, heard = anyio.Event(), []
    spec = gated(gate=gate, heard=heard).options(mailbox=Mailbox(2, overflow=overflow))
    async with run(tree(spec)):
        for number in range(5):
            await spec.ref.tell(Say(str(number)))
        assert spec.ref.statistics().dropped == 3
        gate.set()
        await anyio.wait_all_tasks_blocked()
    assert heard == expected


@pytest.mark.anyio
async def test_reject_refuses_at_the_sender():
    """With overflow "reject" a full mailbox is an error for tell and False for offer."""
    spec = gated(gate=anyio.Event(), heard=[]).options(mailbox=Mailbox(1, overflow="reject"), stop=0)
    async with run(tree(spec)):
        await spec.ref.tell(Say("one"))
        with pytest.raises(MailboxFull, match="tree/gated"):
            await spec.ref.tell(Say("two"))
        assert not spec.ref.offer(Say("two"))


@pytest.mark.anyio
async def test_conflate_replaces_in_place():
    """A newer message of the same key takes the older one's place in the row; questions are left alone."""
    gate, heard = anyio.Event(), []
    options = Mailbox(2, overflow="conflate", key=lambda message: message.word[0])
    spec = gated(gate=gate, heard=heard).options(mailbox=options)
    async with run(tree(spec)):
        for word in ("a1", "b1", "a2", "a3"):
            await spec.ref.tell(Say(word))
        assert not spec.ref.offer(Say("c1"))
        gate.set()
        await anyio.wait_all_tasks_blocked()
        await spec.ref.tell(Say("a4"))
        await anyio.wait_all_tasks_blocked()
    assert heard == ["a3", "b1", "a4"]


@pytest.mark.anyio
async def test_equal_messages_conflate_without_a_key():
    """Without a key function a wake-up that already waits swallows its equals."""
    gate, heard = anyio.Event(), []
    spec = gated(gate=gate, heard=heard).options(mailbox=Mailbox(1, overflow="conflate"))
    async with run(tree(spec)):
        for _ in range(10):
            assert spec.ref.offer(Say("wake"))
        gate.set()
        await anyio.wait_all_tasks_blocked()
    assert heard == ["wake"]


@pytest.mark.anyio
async def test_a_wrong_message_is_refused_at_the_sender():
    """What the inbox does not name raises where it is sent, and never reaches the actor."""
    spec = listener(heard=[])
    async with run(tree(spec)) as runtime:
        with pytest.raises(WrongMessage, match=r"tree/listener takes .*Boom.*not str"):
            await spec.ref.tell("text")
        with pytest.raises(WrongMessage):
            spec.ref.offer(3)
        assert runtime.snapshot("tree/listener").mailbox.accepted == 0


@pytest.mark.anyio
async def test_a_reference_outside_a_running_tree_leads_nowhere():
    """Before the run a message is refused as not running, after it as stopped."""
    spec = listener(heard=[])
    with pytest.raises(NotRunning):
        await spec.ref.tell(Say("early"))
    assert not spec.ref.offer(Say("early"))
    async with run(tree(spec)):
        pass
    with pytest.raises(Stopped):
        await spec.ref.tell(Say("late"))
    assert not spec.ref.offer(Say("late"))


@pytest.mark.anyio
async def test_waiting_senders_learn_that_the_actor_stopped():
    """A sender that waits for room when the actor stops for good is refused, not left waiting."""
    spec = gated(gate=anyio.Event(), heard=[]).options(mailbox=Mailbox(1), stop=0)
    refused: list[str] = []

    async def send():
        try:
            await spec.ref.tell(Say("two"))
        except Stopped:
            refused.append("two")

    runtime = run(tree(spec))
    events = runtime.events()
    async with runtime, anyio.create_task_group() as senders:
        await spec.ref.tell(Say("one"))
        senders.start_soon(send)
        await anyio.wait_all_tasks_blocked()
        runtime.stop()
    assert refused == ["two"]
    assert seen(events, Undelivered)[0].count == 1


def test_references_compare_by_path():
    """Two references are equal when they lead to the same place, whoever made them."""
    spec = listener(heard=[])
    assert spec.ref == spec.ref
    assert hash(spec.ref) == hash(spec.ref)
    assert spec.ref != listener(heard=[]).ref
    run(tree(spec))
    again = listener(heard=[])
    run(tree(again))
    assert spec.ref == again.ref
    assert spec.ref != "tree/listener"


# --- leases


@pytest.mark.anyio
@pytest.mark.parametrize("redeliver", [0, 1])
async def test_senders_wait_no_longer_than_poison_does(redeliver):
    """Every pop lets a waiting sender in, also when what was popped is tried again or becomes a dead letter."""
    heard: list[str] = []
    spec = listener(heard=heard).options(mailbox=Mailbox(1), redeliver=redeliver)
    async with run(tree(spec)), anyio.create_task_group() as group:
        for message in (Boom(), Say("one"), Boom(), Say("two"), Boom(), Say("three")):
            group.start_soon(spec.ref.tell, message)
            await checkpoint()
        await anyio.sleep(1)
    assert sorted(heard) == ["one", "three", "two"]
    assert spec.ref.statistics().dead == 3


@pytest.mark.anyio
async def test_a_question_that_nobody_can_answer_in_time_makes_room():
    """When the actor goes down for longer than an asker has time, the asker's place goes to the sender that waits."""

    @actor(mailbox=Mailbox(1), backoff=Backoff(100, 100, jitter=0))
    async def doomed(ctx: Context, inbox: Inbox[Say | Lives]) -> None:
        async for _ in inbox:
            await anyio.sleep(5)
            raise ValueError

    async def ask() -> None:
        with pytest.raises(CalleeCrashed):
            await spec.ref.ask(Lives(), timeout=50)

    spec = doomed()
    async with run(tree(spec)), anyio.create_task_group() as group:
        began = anyio.current_time()
        await spec.ref.tell(Say("at hand"))
        await anyio.sleep(1)
        group.start_soon(ask)
        await anyio.sleep(1)
        await spec.ref.tell(Say("behind"))
        assert anyio.current_time() - began == 5


@pytest.mark.anyio
async def test_a_returned_message_comes_first():
    """A redelivered message goes back to the front of the row, not behind what came later."""
    order: list[str] = []

    @actor(backoff=AT_ONCE, redeliver=1)
    async def once(ctx: Context, inbox: Inbox[Say]) -> None:
        async for message in inbox:
            order.append(message.word)
            if message.word == "two" and ctx.incarnation == 1:
                raise ValueError

    spec = once()
    async with run(tree(spec)):
        for word in ("one", "two", "three"):
            await spec.ref.tell(Say(word))
        await anyio.wait_all_tasks_blocked()
    assert order == ["one", "two", "two", "three"]


@pytest.mark.anyio
async def test_a_question_is_never_redelivered():
    """A question in hand at a crash is a dead letter, however often messages may be tried: its asker has failed."""
    tries: list[int] = []

    @actor(backoff=AT_ONCE, redeliver=5)
    async def crasher(ctx: Context, inbox: Inbox[Lives]) -> None:
        async for _ in inbox:
            tries.append(ctx.incarnation)
            raise ValueError

    spec = crasher()
    async with run(tree(spec)) as runtime:
        with pytest.raises(CalleeCrashed):
            await spec.ref.ask(Lives())
        await anyio.wait_all_tasks_blocked()
        assert [letter.message for letter in runtime.dead_letters()] == [Lives()]
    assert tries == [1]


def test_an_answer_comes_once():
    """The first reply or failure stands."""
    answer = Answer()
    answer.reply(1)
    answer.reply(2)
    answer.fail(CalleeStopped())
    assert (answer.value, answer.error) == (1, None)


@pytest.mark.anyio
async def test_returning_acknowledges_and_stopping_ends_after_the_message_at_hand():
    """On a graceful stop the message at hand is finished and counts; the rest stays queued."""

    @actor()
    async def slow(ctx: Context, inbox: Inbox[Say]) -> None:
        async for _ in inbox:
            await anyio.sleep(3)

    spec = slow()
    async with run(tree(spec)):
        for word in ("one", "two"):
            await spec.ref.tell(Say(word))
        await checkpoint()
        await anyio.wait_all_tasks_blocked()
    statistics = spec.ref.statistics()
    assert (statistics.handled, statistics.queued, statistics.dead) == (1, 1, 0)


@pytest.mark.anyio
async def test_batch_leases_several_and_waits_a_little_for_more():
    """A batch holds up to its limit, waits `within` for the rest, and is given back whole by a crash."""
    batches: list[list[str]] = []

    @actor(backoff=AT_ONCE, redeliver=1)
    async def writer(ctx: Context, inbox: Inbox[Say]) -> None:
        while batch := await inbox.batch(3, within=1):
            batches.append([message.word for message in batch])
            if ctx.incarnation == 1:
                raise ValueError

    spec = writer()
    async with run(tree(spec)):
        for word in "abcd":
            await spec.ref.tell(Say(word))
        await anyio.sleep(0.5)
        await spec.ref.tell(Say("e"))
        await anyio.sleep(10)
    assert batches == [["a", "b", "c"], ["a", "b", "c"], ["d", "e"]]
    assert spec.ref.statistics().handled == 5


@pytest.mark.anyio
async def test_receive_gives_up_in_time_and_ends():
    """receive(within) gives None when nothing came in time, and when the inbox has ended."""
    took: list[float] = []

    @actor()
    async def poller(ctx: Context, inbox: Inbox[Say]) -> None:
        while not inbox.ended:
            began = anyio.current_time()
            message = await inbox.receive(within=7)
            took.append(anyio.current_time() - began)
            assert message in (None, Say("x"))

    spec = poller()
    async with run(tree(spec)):
        await anyio.sleep(10)
        await spec.ref.tell(Say("x"))
        await anyio.sleep(1)
    assert took == [7, 3, 1]


@pytest.mark.anyio
async def test_two_readers_are_refused():
    """One task reads an inbox at a time: a second reader is an error, not a race."""

    @actor(backoff=AT_ONCE, restart="temporary")
    async def double(ctx: Context, inbox: Inbox[Say]) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(inbox.receive)
            group.start_soon(inbox.receive)

    runtime = run(tree(double()))
    events = runtime.events()
    async with runtime:
        assert "another task is reading" in (await next_event(events, ChildEnded)).failure.message


@pytest.mark.anyio
async def test_the_correlation_id_travels_in_the_envelope():
    """What an actor sends while it handles a message carries that message's correlation id."""
    found: list[str] = []

    @actor()
    async def second(ctx: Context, inbox: Inbox[Say]) -> None:
        async for message in inbox:
            found.append(f"{message.word} {ctx.correlation} {inbox.correlation(message)}")  # noqa: PERF401 # looked at before the inbox ends

    last = second()

    @actor()
    async def first(ctx: Context, inbox: Inbox[Say]) -> None:
        async for message in inbox:
            await last.ref.tell(message)

    spec = first()
    async with run(tree(last, spec)):
        for word in ("a", "b"):
            CORRELATION.set(f"id of {word}")
            await spec.ref.tell(Say(word))
        await anyio.wait_all_tasks_blocked()
    assert found == ["a id of a id of a", "b id of b id of b"]


@pytest.mark.anyio
async def test_an_actors_function_can_be_called_alone():
    """An inbox of given messages ends after them: an actor is tested as the plain function it is."""
    heard: list[str] = []
    await listener.function(Context(), Inbox.of(Say("a"), Say("b")), heard=heard)
    assert heard == ["a", "b"]


# --- ask


@pytest.mark.anyio
async def test_an_answer_comes_back():
    """Ask gives what the actor replied."""
    spec = listener(heard=[])
    async with run(tree(spec)):
        assert await spec.ref.ask(Lives()) == 1


@pytest.mark.anyio
async def test_the_same_question_object_can_be_asked_by_many():
    """Askers that share one question object each get an answer, also within one batch."""

    @actor()
    async def batcher(ctx: Context, inbox: Inbox[Lives]) -> None:
        while batch := await inbox.batch(10, within=1):
            for number, question in enumerate(batch):
                inbox.reply(question, number)

    question = Lives()
    spec = batcher()
    answers: list[int] = []

    async def ask():
        answers.append(await spec.ref.ask(question))

    async with run(tree(spec)), anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(ask)
    assert sorted(answers) == [0, 1, 2]


@pytest.mark.anyio
async def test_ask_times_out_exactly():
    """Without an answer ask raises AskTimeout, which is a TimeoutError, when its time is up."""
    spec = listener(heard=[]).options(stop=0)
    async with run(tree(spec)):
        began = anyio.current_time()
        with pytest.raises(TimeoutError) as caught:
            await spec.ref.ask(Never(), timeout=4)
        assert isinstance(caught.value, AskTimeout)
        assert anyio.current_time() - began == 4


@pytest.mark.anyio
@pytest.mark.parametrize("behind", [False, True])
async def test_ask_fails_at_once_when_the_actor_crashes(behind):
    """Askers in hand and askers in the row fail in the moment of the crash, not at their timeout."""

    @actor(backoff=Backoff(100, 100))
    async def crasher(ctx: Context, inbox: Inbox[Say | Lives]) -> None:
        async for message in inbox:
            if isinstance(message, Lives) or behind:
                await anyio.sleep(2)
                raise ValueError("crashed over it")

    spec = crasher()
    async with run(tree(spec)):
        began = anyio.current_time()
        if behind:
            await spec.ref.tell(Say("poison"))
        with pytest.raises(CalleeCrashed, match="crashed over it"):
            await spec.ref.ask(Lives(), timeout=50)
        assert anyio.current_time() - began == 2


@pytest.mark.anyio
async def test_ask_fails_at_once_when_the_actor_stops():
    """An asker in the row fails when the actor is asked to stop for good; asking later fails at once, too."""
    spec = listener(heard=[]).options(stop=5)
    failed_at: list[float] = []

    async def ask():
        try:
            await spec.ref.ask(Lives(), timeout=50)
        except CalleeStopped:
            failed_at.append(anyio.current_time())

    runtime = run(tree(spec))
    async with runtime, anyio.create_task_group() as group:
        await spec.ref.tell(Never())
        await anyio.wait_all_tasks_blocked()
        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        began = anyio.current_time()
        runtime.stop()
    assert failed_at == [began]
    with pytest.raises(CalleeStopped):
        await spec.ref.ask(Lives())


@pytest.mark.anyio
async def test_a_forgotten_reply_is_told():
    """An actor that goes on without replying fails its asker at once."""
    spec = listener(heard=[])
    async with run(tree(spec)):
        with pytest.raises(Unanswered):
            await spec.ref.ask(Silence())


@pytest.mark.anyio
async def test_a_late_reply_changes_nothing():
    """A reply to an asker that has left, or a second reply, is ignored."""

    @actor()
    async def late(ctx: Context, inbox: Inbox[Lives]) -> None:
        async for message in inbox:
            await anyio.sleep(5)
            inbox.reply(message, 1)
            inbox.reply(message, 2)

    spec = late()
    async with run(tree(spec)) as runtime:
        with pytest.raises(AskTimeout):
            await spec.ref.ask(Lives(), timeout=1)
        assert await spec.ref.ask(Lives(), timeout=20) == 1
        assert runtime.snapshot("tree/late").restarts == 0


@pytest.mark.anyio
async def test_questions_whose_askers_left_are_not_worked_on():
    """A question that timed out in the row is skipped: nobody would hear the answer."""
    gate, heard = anyio.Event(), []
    spec = gated(gate=gate, heard=heard)
    async with run(tree(spec)):
        with pytest.raises(AskTimeout):
            await spec.ref.ask(Lives(), timeout=1)
        gate.set()
        await spec.ref.tell(Say("x"))
        await anyio.wait_all_tasks_blocked()
        statistics = spec.ref.statistics()
        assert (statistics.dropped, statistics.leased, heard) == (1, 0, ["x"])


@pytest.mark.anyio
async def test_a_dropped_question_fails_its_asker():
    """A question pushed out of a full mailbox fails at once."""
    spec = gated(gate=anyio.Event(), heard=[]).options(mailbox=Mailbox(1, overflow="drop_oldest"), stop=0)
    failed: list[type] = []

    async def ask():
        try:
            await spec.ref.ask(Lives())
        except QuestionDropped as error:
            failed.append(type(error))

    async with run(tree(spec)), anyio.create_task_group() as group:
        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        await spec.ref.tell(Say("x"))
    assert failed == [QuestionDropped]


class Relay(Call[int], frozen=True):
    hops: int


@pytest.mark.anyio
@pytest.mark.parametrize("length", [1, 2, 3])
async def test_a_cycle_of_questions_is_refused_with_its_path(length):
    """Asking oneself, or closing a longer cycle, is refused at once and names the whole chain."""
    specs = []

    @actor(backoff=AT_ONCE)
    async def relay(ctx: Context, inbox: Inbox[Relay], *, index: int) -> None:
        async for message in inbox:
            try:
                answer = await specs[(index + 1) % length].ref.ask(Relay(message.hops + 1), timeout=100)
            except AskCycle as cycle:
                refusals.append(str(cycle))
                answer = message.hops
            inbox.reply(message, answer)

    refusals: list[str] = []
    specs += [relay(index=index).named(f"r{index}") for index in range(length)]
    async with run(tree(*specs)):
        assert await specs[0].ref.ask(Relay(1)) == length
    names = [f"tree/r{index}" for index in range(length)]
    assert refusals == [" -> ".join([names[-1], *names])] if length > 1 else [" -> ".join(names * 2)]


@pytest.mark.anyio
async def test_monitors_that_are_gone_cost_nothing():
    """A monitor that nobody holds any more is forgotten, long before the actor ends."""
    spec = listener(heard=[])
    async with run(tree(spec)):
        for _ in range(100):
            spec.ref.monitor()
        kept = spec.ref.monitor()
        assert len(spec.ref.address.watchers._monitors) <= 2
        assert kept.down is None


@pytest.mark.anyio
async def test_a_monitor_sees_the_next_end():
    """A monitor counts from the moment it was asked for and tells how the incarnation ended."""
    spec = listener(heard=[])
    async with run(tree(spec)):
        monitor = spec.ref.monitor()
        await spec.ref.tell(Boom())
        down = await monitor.wait()
        assert (down.path, down.incarnation, down.ending, down.failure.message) == ("tree/listener", 1, "crash", "boom")


# --- fairness


async def longest_run(steps: list[str], total: int, work) -> int:
    """Do the work, beside a task that only takes its turns; the longest run of steps between two of these turns."""

    async def take_turns() -> None:
        while steps.count("s") < total:
            steps.append(" ")
            await checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(take_turns)
        await work()
    return max(map(len, "".join(steps).split()))


@pytest.mark.anyio
async def test_a_sender_that_fills_a_mailbox_lets_others_run():
    """A task that tells without ever waiting lets others run every MESSAGES_PER_CHECKPOINT messages."""
    steps: list[str] = []
    specs = [gated(gate=anyio.Event(), heard=[]).named(name).options(mailbox=Mailbox(1000), stop=0) for name in "ab"]

    async def flood() -> None:
        for _ in range(500):
            for spec in specs:
                await spec.ref.tell(Say("x"))
                steps.append("s")

    async with run(tree(*specs)):
        most = await longest_run(steps, 1000, flood)
    assert MESSAGES_PER_CHECKPOINT // 2 < most <= 2 * MESSAGES_PER_CHECKPOINT  # trio may shuffle two turns apart


@pytest.mark.anyio
async def test_an_actor_with_a_full_mailbox_lets_others_run():
    """An actor that never has to wait for mail lets others run every MESSAGES_PER_CHECKPOINT messages."""
    steps: list[str] = []

    @actor(mailbox=Mailbox(1000))
    async def flooded(ctx: Context, inbox: Inbox[Say]) -> None:
        ctx.ready()
        await gate.wait()
        async for _ in inbox:
            steps.append("s")  # noqa: PERF401 # the order among tasks is what is looked at

    gate, spec = anyio.Event(), flooded()

    async def drain() -> None:
        gate.set()

    async with run(tree(spec)):
        for _ in range(1000):
            await spec.ref.tell(Say("x"))
        steps.clear()
        most = await longest_run(steps, 1000, drain)
    assert MESSAGES_PER_CHECKPOINT // 2 < most <= 2 * MESSAGES_PER_CHECKPOINT


# --- conservation


# --- what an inbox names


class Shape(Protocol):
    pass


def test_mailboxes_that_cannot_work_are_refused():
    """A mailbox without room, or a key without conflation, is an error where it is written."""
    with pytest.raises(SpecError):
        Mailbox(0)
    with pytest.raises(SpecError):
        Mailbox(overflow="block", key=len)


@pytest.mark.anyio
async def test_an_inbox_of_a_protocol_takes_anything():
    """What cannot be checked by isinstance is left to the type checker."""

    @actor()
    async def lax(ctx: Context, inbox: Inbox[Shape]) -> None:
        async for _ in inbox:
            pass

    spec = lax()
    runtime = run(tree(spec))
    events = runtime.events()
    async with runtime:
        await spec.ref.tell(object())
        await anyio.wait_all_tasks_blocked()
    assert [event.incarnation for event in seen(events, ChildReady)] == [1]
