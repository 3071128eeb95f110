"""What contacts owe and are owed, added up from the documents; it moves without touching anybody's stamp."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from actors.sandbox.contacts import DOLLAR_RATE
from actors.sandbox.entity import Facts

RECEIVABLE, PAYABLE, CREDITS = 0, 1, 2
COLUMNS = {"invoices": RECEIVABLE, "bills": PAYABLE, "creditnotes": CREDITS}


class Ledger:
    """Receivable, payable and unused credits per contact index, in the base currency."""

    def __init__(self) -> None:
        self._accounts: defaultdict[int, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])

    def open(self, module: str, documents: Iterable[Facts]) -> None:
        """Add up all documents of one kind."""
        for facts in documents:
            self.book(module, facts, 1)

    def book(self, module: str, facts: Facts, sign: int) -> int:
        """Add (+1) or take back (-1) a document's open balance; answers whose account moved."""
        contact: int = facts["contact"]
        if facts["status"] not in {"draft", "void"}:
            rate = DOLLAR_RATE if facts.get("currency") == "USD" else 1.0
            account = self._accounts[contact]
            column = COLUMNS[module]
            account[column] = round(account[column] + sign * facts["balance"] * rate, 2)
        return contact

    def balances(self, contact: int) -> tuple[float, float, float]:
        """Receivable, payable, unused credits of one contact."""
        account = self._accounts.get(contact)
        return (account[0], account[1], account[2]) if account else (0.0, 0.0, 0.0)
