"""Random trees of actors that suffer and cause faults: everything comes from the chance that is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from random import Random

import anyio
import trio
from fixtures.clock import virtual_options
from msgspec import Struct
from simulation.invariants import check_now

from tds_runtime import Backoff, Budget, Call, Context, Inbox, Mailbox, Runtime, Spec, Supervisor, actor, run
from tds_runtime.errors import AskCycle, BudgetExhausted, Error, NoAnswer, StartFailed
from tds_runtime.events import Event, Lagged

DAY = 86_400.0
FAULTS = ["crash", "group", "hang", "swallow", "slow", "beat", "wait", "ask", "flood", "return_early"]


class Work(Struct, frozen=True):
    number: int
    fault: str


class Ping(Call[int], frozen=True):
    """Whoever is asked asks somebody else first, so many hops long."""

    hops: int = 0


class World:
    """One random tree, its actors' behaviour, and what is kept of both for the checks."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.alive: Counter[str] = Counter()
        self.handled: Counter[tuple[str, int]] = Counter()
        self.broken: set[str] = set()
        self.fired: Counter[str] = Counter()
        self.specs: list[Spec[Work | Ping]] = []
        self.pardons: list[tuple[int, str]] = []
        self.number = 0
        self.tree = self.supervisor("tree", depth=0)

    def supervisor(self, name: str, depth: int) -> Supervisor:
        chance = self.chance
        strategy = chance.choice(["one_for_one", "one_for_all", "rest_for_one"])
        own = depth > 0 or strategy == "one_for_one"  # elsewhere a used-up budget of its own would end the root
        children = []
        for index in range(chance.randint(1, 4)):
            if depth < 2 and chance.random() < 0.3:
                children.append(self.supervisor(f"s{index}", depth + 1))
            else:
                children.append(self.worker(f"w{index}", own=own))
        return Supervisor(
            name,
            strategy=strategy,
            budget=Budget(chance.randint(3, 20) if depth or chance.random() < 0.1 else 200, per=60),
            backoff=Backoff(1, 60),
            children=children,
        )

    def worker(self, name: str, *, own: bool) -> Spec[Work | Ping]:
        chance = self.chance
        world = self

        @actor(
            restart=chance.choice(["permanent", "permanent", "transient", "temporary"]),
            budget=chance.choice([None, Budget(3, per=60)]) if own else None,
            backoff=chance.choice([Backoff(0), Backoff(1, 60), Backoff(0.1, 600, jitter=1)]),
            mailbox=Mailbox(chance.randint(1, 10), overflow=chance.choice(["block", "reject", "drop_oldest"])),
            redeliver=chance.randint(0, 2),
            watchdog=chance.choice([None, 30]),
            stop=chance.choice([0, 1, 10]),
            kill_grace=chance.choice([0, 5]),
        )
        async def worker(ctx: Context, inbox: Inbox[Work | Ping]) -> None:
            world.alive[ctx.path] += 1
            assert world.alive[ctx.path] == 1, "two lives of one child at the same time"
            try:
                if ctx.incarnation > 1 and ctx.path in world.broken:
                    world.fired["broken start"] += 1
                    if world.chance.random() < 0.1:  # it would come back the next time
                        world.broken.discard(ctx.path)
                    raise ConnectionError("does not come back")
                await world.live(ctx, inbox)
            finally:
                world.alive[ctx.path] -= 1

        spec = worker().named(name)
        self.specs.append(spec)
        return spec

    async def live(self, ctx: Context, inbox: Inbox[Work | Ping]) -> None:
        async for message in inbox:
            match message:
                case Ping(hops):
                    if hops:
                        await self.ask_somebody(hops - 1)
                    inbox.reply(message, ctx.incarnation)
                case Work(number, fault):
                    self.handled[ctx.path, number] += 1
                    if await self.suffer(ctx, fault):
                        return

    async def suffer(self, ctx: Context, fault: str) -> bool:
        self.fired[fault] += 1
        if fault in FAULTS[:-1]:
            await getattr(self, fault)(ctx)
        return fault == "return_early"

    async def crash(self, ctx: Context) -> None:
        raise ValueError("by chance")

    async def group(self, ctx: Context) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self.crash, ctx)

    async def hang(self, ctx: Context) -> None:
        with anyio.CancelScope(shield=self.chance.random() < 0.3):
            await anyio.sleep(self.chance.random() * 200)

    async def slow(self, ctx: Context) -> None:
        await anyio.sleep(self.chance.random() * 20)

    async def beat(self, ctx: Context) -> None:
        for _ in range(5):
            await anyio.sleep(20)
            ctx.beat()

    async def wait(self, ctx: Context) -> None:
        async with ctx.waiting("something"):
            await anyio.sleep(300)

    async def ask(self, ctx: Context) -> None:
        await self.ask_somebody(hops=self.chance.randint(0, 3))

    async def swallow(self, ctx: Context) -> None:
        for _ in range(self.chance.randint(1, 4)):
            try:
                await anyio.sleep(self.chance.random() * 100)
            except anyio.get_cancelled_exc_class():  # this is the fault
                self.fired["swallowed"] += 1

    async def ask_somebody(self, hops: int) -> None:
        try:
            await self.chance.choice(self.specs).ref.ask(Ping(hops), timeout=20)
        except AskCycle:
            self.fired["cycle"] += 1
        except NoAnswer:
            self.fired["no answer"] += 1

    async def flood(self, ctx: Context) -> None:
        """Tell somebody far more than a mailbox holds, for a minute at most."""
        spec = self.chance.choice(self.specs)
        with anyio.move_on_after(60):
            try:
                for _ in range(25):
                    await spec.ref.tell(self.work("nothing"))
            except Error:
                self.fired["flood refused"] += 1

    def work(self, fault: str) -> Work:
        self.number += 1
        return Work(self.number, fault)


class Step(Struct, frozen=True):
    """One act of an operator or a network: where in the tree (0 to 1), which act, which fault, and the pause after."""

    where: float
    act: float
    fault: str
    pause: float


def steps_of(chance: Random, days: float) -> Iterator[Step]:
    """So many days of acts, in bursts with long silences, sparse enough to be simulated."""
    left = days * DAY
    while left > 0:
        pause = chance.random() * (60 if chance.random() < 0.7 else DAY)
        left -= pause
        yield Step(chance.random(), chance.random(), chance.choice(FAULTS), pause)


async def act(world: World, runtime: Runtime, step: Step) -> None:
    spec = world.specs[int(step.where * len(world.specs))]
    if step.act < 0.6:
        await spec.ref.tell(world.work(step.fault))
    elif step.act < 0.8:
        await spec.ref.ask(Ping(world.chance.randint(0, 2)), timeout=20)
    elif step.act < 0.85:
        world.broken.add(spec.ref.path)
    elif step.act < 0.93:
        world.broken.clear()
    elif step.act < 0.95:
        await runtime.kill(spec.ref.path, "by chance")
    else:
        world.pardons.append((runtime._broadcast.published, spec.ref.path))
        await (runtime.terminate if step.act > 0.985 else runtime.restart)(spec.ref.path)


async def drive(world: World, runtime: Runtime, steps: Iterable[Step]) -> None:
    """Every step is followed by a look at the whole tree."""
    for step in steps:
        try:
            with anyio.move_on_after(50):
                await act(world, runtime, step)
        except Error:
            pass
        await anyio.wait_all_tasks_blocked()
        check_now(world, runtime)
        await anyio.sleep(step.pause)


async def simulate(seed: int, steps: Iterable[Step]) -> tuple[World, list[Event | Lagged], str]:
    world = World(Random(seed))
    runtime = run(world.tree, random=Random(seed), grace=600)
    subscription = runtime.events(1_000_000)
    outcome = "stopped"
    try:
        async with runtime:
            await drive(world, runtime, steps)
    except BudgetExhausted:
        outcome = "exhausted"
    except StartFailed:
        outcome = "not started"
    return world, [event async for event in subscription], outcome


def history(seed: int, steps: Iterable[Step]) -> tuple[World, list[Event | Lagged], str]:
    """One world from its start to its end: what lived in it, what happened, and how it ended."""
    trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING = True  # as hypothesis does
    trio._core._run._r.seed(seed)
    return anyio.run(simulate, seed, steps, backend="trio", backend_options=virtual_options("trio"))
