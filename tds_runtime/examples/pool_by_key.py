"""A pool by key: one actor a customer, and one customer whose account is missing.

Look at who notices. Bob's actor crashes until its own budget is spent; then it is quarantined: left alone, visible, and
tried again by itself after a while. Ada's actor never notices. What was sent to Bob waits in his mailbox, and when
somebody has mended his account and lets him go, it is delivered.
"""

import sys
from collections.abc import Callable

import anyio
from msgspec import Struct

from tds_runtime import Backoff, Budget, Call, Context, Inbox, Pool, Ref, Supervisor, actor, run
from tds_runtime.errors import AlreadyRunning
from tds_runtime.events import ChildQuarantined, RestartScheduled


class Pay(Struct, frozen=True):
    """Take this much from the account."""

    amount: int


class Balance(Call[int], frozen=True):
    """What is left."""


@actor(budget=Budget(2, per=60), backoff=Backoff(0), quarantine=Backoff(60, 3600, jitter=0), redeliver=9)
async def customer(_: Context, inbox: Inbox[Pay | Balance], name: str, accounts: dict[str, int]) -> None:
    """Serves one customer, one message after the other."""
    async for message in inbox:
        match message:
            case Pay(amount):
                accounts[name] -= amount
            case Balance():
                inbox.reply(message, accounts[name])


Customers = Pool[[str, dict[str, int]], Pay | Balance]


async def reach(customers: Customers, name: str, accounts: dict[str, int]) -> Ref[Pay | Balance]:
    """The customer of this name, started by whoever needs it first."""
    try:
        return await customers.start(name, name, accounts)
    except AlreadyRunning:
        return customers.ref(name)


async def main(say: Callable[[str], None] = print) -> None:
    """Take money from two customers, mend what is broken, and look at both."""
    accounts = {"ada": 100}
    customers = Pool("customers", template=customer)
    async with run(Supervisor("bank", children=[customers])) as runtime:
        with runtime.events() as events:
            for name, amount in (("ada", 10), ("bob", 20), ("ada", 30)):
                await (await reach(customers, name, accounts)).tell(Pay(amount))
            async for event in events:
                if isinstance(event, RestartScheduled):
                    say(f"{event.path} crashed; try {event.attempt} follows")
                if isinstance(event, ChildQuarantined):
                    say(f"{event.path} is quarantined for {event.cooldown:g} s: {event.failure}")
                    break
        say(f"ada has {await customers.ref('ada').ask(Balance())}")
        accounts["bob"] = 100
        await runtime.restart("bank/customers/bob")
        say(f"bob has {await customers.ref('bob').ask(Balance())}")
        for child in runtime.snapshot("bank/customers").children:
            say(f"{child.name} is {child.state} in life {child.incarnation}")


if __name__ == "__main__":
    anyio.run(main, backend=sys.argv[1] if sys.argv[1:] else "asyncio")
