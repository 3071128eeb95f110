"""Users, locations (also shown as branches and warehouses) and the organisation itself."""

from __future__ import annotations

from actors.sandbox.chance import Draws
from actors.sandbox.entity import BEGIN, DAY, Facts, Ground
from actors.sandbox.kinds import Kind
from actors.sandbox.options import ORGANIZATION_ID
from actors.sandbox.shapes import Document, Shapes, laid
from actors.sandbox.words import CITIES, FIRST_NAMES, LAST_NAMES, LOCATION_NAMES

USER_KEYS = ("name", "email", "user_role", "status", "mobile")
LOCATION_KEYS = ("location_name", "email", "phone", "city", "status")


class Users:
    """The people of the organisation; the first one owns it and is the one whose token is used."""

    def __init__(self, ground: Ground, kind: Kind) -> None:
        self.kind = kind
        self._ground = ground
        self._shapes = Shapes("users")

    def generate(self, index: int) -> Facts:
        facts = self.blank(index)
        draws = Draws(self._ground.seed, self.kind.code, index)
        name = f"{draws.pick(FIRST_NAMES)} {draws.pick(LAST_NAMES)}" if index else "Sample Owner"
        facts.update(
            name=name, email=f"staff{index}@example.com" if index else "sample.owner@example.com",
            user_role=draws.pick(("staff", "staff", "timesheetstaff")) if index else "admin",
            status="inactive" if (index + 1) % 6 == 0 else "active", created=BEGIN + index * DAY,
            modified=BEGIN + index * DAY,
        )  # fmt: skip
        return facts

    def blank(self, index: int) -> Facts:
        facts: Facts = dict.fromkeys(USER_KEYS, "")
        now = int(self._ground.clock.now())
        facts.update(index=index, id=self.kind.record_id(index), created=now, modified=now, status="active")
        facts["user_role"] = "staff"
        return facts

    def complete(self, _facts: Facts) -> None:
        """Nothing follows from a user's facts."""

    def adopt(self, body: Document) -> Facts:
        return {key: body[key] for key in USER_KEYS if key in body}

    def touched(self, facts: Facts) -> Facts:
        return {"email": f"staff{facts['index']}.{facts['modified'] % 100_000}@example.com"}

    def _shared(self, facts: Facts) -> Facts:
        shared = {key: facts[key] for key in USER_KEYS}
        first = facts["index"] == 0
        return shared | {
            "user_id": facts["id"], "is_current_user": first, "is_super_admin": first,
            "email_ids": [{"email": facts["email"], "is_selected": True}],
            "created_time": self._ground.clock.stamp(facts["created"]),
        }  # fmt: skip

    def row(self, facts: Facts, _api: str) -> Document:
        shape = self._shapes["row"]
        return laid(shape, self._shared(facts))

    def detail(self, facts: Facts, _api: str) -> Document:
        shape = self._shapes["detail"]
        return laid(shape, self._shared(facts))


class Locations:
    """Places where stock is kept and sold."""

    def __init__(self, ground: Ground, kind: Kind) -> None:
        self.kind = kind
        self._ground = ground
        self._shapes = Shapes("locations")

    def generate(self, index: int) -> Facts:
        facts = self.blank(index)
        facts.update(
            location_name=LOCATION_NAMES[index % len(LOCATION_NAMES)], city=CITIES[index % len(CITIES)],
            status="active" if index < len(LOCATION_NAMES) - 1 else "inactive", created=BEGIN, modified=BEGIN,
        )  # fmt: skip
        return facts

    def blank(self, index: int) -> Facts:
        facts: Facts = dict.fromkeys(LOCATION_KEYS, "")
        now = int(self._ground.clock.now())
        facts.update(index=index, id=self.kind.record_id(index), created=now, modified=now, status="active")
        return facts

    def complete(self, _facts: Facts) -> None:
        """Nothing follows from a location's facts."""

    def adopt(self, body: Document) -> Facts:
        patch: Facts = {key: body[key] for key in LOCATION_KEYS if key in body}
        if isinstance(body.get("address"), dict) and "city" in body["address"]:
            patch["city"] = body["address"]["city"]
        return patch

    def touched(self, facts: Facts) -> Facts:
        return {"phone": f"+964 1 {facts['modified'] % 10_000_000:07d}"}

    def row(self, facts: Facts, _api: str) -> Document:
        shape = self._shapes["row"]
        primary = facts["index"] == 0
        return shape | {
            "location_id": facts["id"], "location_name": facts["location_name"], "email": facts["email"],
            "phone": facts["phone"],
            "parent_location_id": "" if primary else self.kind.record_id(0), "is_primary_location": primary,
            "is_location_active": facts["status"] == "active", "address": shape["address"] | {"city": facts["city"]},
            "associated_users": [{"user_id": self._ground.kind("users").record_id(0), "user_name": "Sample Owner"}],
        }  # fmt: skip

    def detail(self, facts: Facts, api: str) -> Document:
        return self.row(facts, api)

    def branch(self, facts: Facts) -> Document:
        """The legacy `/branches` form."""
        return {
            "branch_id": facts["id"], "branch_name": facts["location_name"], "is_primary_branch": facts["index"] == 0,
        }  # fmt: skip

    def warehouse(self, facts: Facts) -> Document:
        """The legacy `/settings/warehouses` form."""
        primary = facts["index"] == 0
        return self._shapes["warehouse"] | {
            "warehouse_id": facts["id"], "warehouse_name": facts["location_name"], "city": facts["city"],
            "phone": facts["phone"], "is_primary": primary, "is_org_level_primary": primary, "status": facts["status"],
        }  # fmt: skip


class Organization:
    """The one organisation: the list calls its fiscal month by number, the detail by name."""

    def __init__(self, edition: str) -> None:
        shapes = Shapes("organizations")
        india = {
            "version": "india", "version_formatted": "India", "country": "India", "country_code": "IN",
            "is_gst_india_version": True, "is_registered_for_gst": True, "is_hsn_or_sac_enabled": True,
        }  # fmt: skip
        added = india if edition == "in" else {}
        self.row = shapes["row"] | {"organization_id": ORGANIZATION_ID} | added
        self.detail = shapes["detail"] | {"organization_id": ORGANIZATION_ID} | ({"version": "india"} if added else {})
