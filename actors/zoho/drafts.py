"""Documents that were mapped to be compared, kept a moment for who maps the very same bytes to write them."""

from __future__ import annotations

from actors.zoho.documents import Kind, Mapped

MOST = 1000


class Drafts:
    """What documents of one entity were mapped to; each is taken once, and the oldest leave when there are too many."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._kept: dict[int, tuple[bytes, Kind, str, Mapped]] = {}

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    def keep(self, body: bytes, kind: Kind, variant: str, mapped: Mapped) -> None:
        """Keep what this very object, read as this kind of this variant, was mapped to."""
        self._kept[id(body)] = body, kind, variant, mapped  # holding it, so that nothing else gets its id
        if len(self._kept) > self._most:
            del self._kept[next(iter(self._kept))]

    def take(self, body: bytes, kind: Kind, variant: str) -> Mapped | None:
        """What it was mapped to, or None where nobody has done so."""
        known = self._kept.pop(id(body), None)
        if known is None or known[0] is not body or known[1:3] != (kind, variant):
            return None
        return known[3]
