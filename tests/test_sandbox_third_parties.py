import inspect
from typing import Any

import anyio
import pytest
from fixtures.sandbox import Sandbox

from actors.sandbox.options import ORGANIZATION_ID

zohopy = pytest.importorskip("zohopy", reason="the third-party clients are tested where they are installed")
pyzohoapi = pytest.importorskip("pyzohoapi", reason="the same")
throttled_of_pyzohoapi = pytest.importorskip("pyzohoapi.exceptions")
books_of_zohopy = pytest.importorskip("zohopy.products.books")
inventory_of_zohopy = pytest.importorskip("zohopy.products.inventory")


class Config(zohopy.ZohoConfig):
    """zohopy's own settings, with the sandbox for its two addresses."""

    url: str = ""

    @property
    def accounts_url(self) -> str:
        return self.url

    @property
    def base_api_url(self) -> str:
        return self.url


def config(sandbox: Sandbox) -> Config:
    announced = sandbox.announced
    return Config(
        client_id=announced.client_id, client_secret=announced.client_secret, refresh_token=announced.refresh_token,
        organization_id=announced.organization_id, data_center=zohopy.DataCenter.US, url=sandbox.api, max_retries=0,
    )  # fmt: skip


RESOURCES = [
    (books_of_zohopy.ZohoBooks, "/books/v3"),
    (inventory_of_zohopy.ZohoInventory, "/inventory/v1"),
]


@pytest.mark.parametrize(("product", "prefix"), RESOURCES)
def test_zohopy_lists_every_resource(sandbox: Sandbox, product: Any, prefix: str):
    """Zohopy's list call works for every resource it knows."""
    with zohopy.SyncZohoClient(config(sandbox)) as client:
        api = product(client)
        resources = {name: part for name, part in vars(api).items() if hasattr(part, "list")}
        assert len(resources) > 10
        for name, resource in resources.items():
            answer = resource.list()
            assert answer["code"] == 0, name


# what a method's parameter is given; any other id is one that does not exist
UNMADE = {"organizations", "settings/preferences"}
# answered with 404 or a file, as they should be, where nothing was attached; and what nobody may do
OTHERWISE = {"get_attachment", "get_receipt", "organizations.create", "organizations.delete", "preferences.delete"}
FILE = {"attachment": ("a.txt", b"attached", "text/plain")}
BODIES: dict[str, dict[str, Any]] = {
    "contacts": {"contact_name": "Every Method"}, "items": {"name": "Every Method", "rate": 1.5},
    "customerpayments": {"amount": 1.0}, "vendorpayments": {"amount": 1.0}, "pricebooks": {"name": "Every Method"},
    "users": {"name": "Every Method", "email": "every@example.com"}, "locations": {"location_name": "Every Method"},
}  # fmt: skip


def body_for(sandbox: Sandbox, path: str) -> dict[str, Any]:
    """A body that a module's create call accepts."""
    rows = {kind: sandbox.truth(kind)[0] for kind in ("customer", "vendor", "product")}
    line = {"item_id": rows["product"]["item_id"], "quantity": 2, "rate": 3.5, "quantity_adjusted": 1}
    body = {"line_items": [line], "customer_id": rows["customer"]["contact_id"], "name": "Every Method"}
    body["vendor_id"] = rows["vendor"]["contact_id"]
    return body | BODIES.get(path.rsplit("/", maxsplit=1)[-1], {})


def record_of(resource: Any, body: dict[str, Any]) -> str:
    """The id of a record that the resource's own create call made; where it cannot, of a listed one."""
    if resource._resource in UNMADE:
        return ORGANIZATION_ID
    made = resource.create(body)
    name, document = next((key, value) for key, value in made.items() if isinstance(value, dict))
    return document.get(f"{name}_id") or next(value for key, value in document.items() if key.endswith("_id"))


def arguments(method: Any, known: str, body: dict[str, Any]) -> dict[str, Any] | None:
    """A value for each parameter of a method; None when it needs an id that only another call could tell."""
    given: dict[str, Any] = {}
    for name, parameter in inspect.signature(method).parameters.items():
        if name in {"id", "resource_id", "contact_id"}:
            given[name] = known
        elif name == "data":
            given[name] = body
        elif name == "files":
            given[name] = FILE
        elif parameter.kind is not parameter.VAR_KEYWORD and parameter.default is parameter.empty:
            return None
    return given


@pytest.mark.parametrize(("product", "prefix"), RESOURCES)
def test_zohopy_every_method(sandbox: Sandbox, product: Any, prefix: str):
    """Every method of every resource that zohopy has works on a record that it made itself, or on a seeded one."""
    tried, failed = 0, []
    with zohopy.SyncZohoClient(config(sandbox)) as client:
        for resource_name, resource in vars(product(client)).items():
            if not hasattr(resource, "list"):
                continue
            body = body_for(sandbox, resource._resource)
            for name, method in inspect.getmembers(resource, inspect.ismethod):
                if name.startswith("_") or {name, f"{resource_name}.{name}"} & OTHERWISE:
                    continue
                try:
                    known = record_of(resource, body)
                    given = arguments(method, known, body)
                    answer = method(**given) if given is not None else {"code": 0}
                except (zohopy.ZohoError, ValueError) as error:
                    failed.append(f"{resource_name}.{name}: {error}")
                    continue
                tried += given is not None
                if isinstance(answer, dict) and answer["code"] != 0:
                    failed.append(f"{resource_name}.{name}: {answer}")
    assert failed == []
    assert tried > (400 if prefix == "/books/v3" else 80)


def test_zohopy_reads_and_writes(sandbox: Sandbox):
    """Zohopy pages through items, reads a detail, creates, updates and deletes, unchanged but for its addresses."""
    with zohopy.SyncZohoClient(config(sandbox)) as client:
        books = books_of_zohopy.ZohoBooks(client)
        rows = [row for page in books.items.list_all() for row in page["items"]]
        assert len(rows) == 1312
        assert books.items.get(rows[0]["item_id"])["item"]["name"] == rows[0]["name"]
        made = books.contacts.create({"contact_name": "Zohopy"})["contact"]
        assert books.contacts.update(made["contact_id"], {"phone": "12"})["contact"]["phone"] == "12"
        assert books.contacts.mark_inactive(made["contact_id"])["code"] == 0
        assert books.contacts.delete(made["contact_id"])["message"] == "The customer has been deleted."
        invoice = books.invoices.list(per_page=1)["invoices"][0]["invoice_id"]
        assert books.invoices.list_comments(invoice)["code"] == 0 if hasattr(books.invoices, "list_comments") else True
        with pytest.raises(zohopy.ZohoNotFoundError):
            books.invoices.get("1")


def test_zohopy_async(sandbox: Sandbox):
    """Zohopy's asynchronous client works as well."""

    async def names() -> list[str]:
        async with zohopy.AsyncZohoClient(config(sandbox)) as client:
            return [
                row["name"]
                async for page in client.paginate("/books/v3/users", params={"filter_by": "Status.All"})
                for row in page["users"]
            ]

    assert len(anyio.run(names)) == 25


def connected(kind: type, sandbox: Sandbox) -> Any:
    """A pyZohoAPI client whose two hard-wired addresses are the sandbox's."""
    announced = sandbox.announced
    api = kind(
        announced.organization_id, client_id=announced.client_id, client_secret=announced.client_secret,
        refresh_token=announced.refresh_token, redirect_url="x",
    )  # fmt: skip
    api._endpoint = api._endpoint.replace("https://www.zohoapis.com", sandbox.api)
    api._oauth = f"{sandbox.accounts}/oauth/v2"
    return api


def test_pyzohoapi_books(sandbox: Sandbox):
    """PyZohoAPI iterates over pages, loads a record, creates, updates and deletes one."""
    books = connected(pyzohoapi.ZohoBooks, sandbox)
    assert len(list(books.Item().Iter(raw=True))) == 1312
    contact = books.Contact()
    contact.contact_name = "Todd"
    contact.Create()
    contact.phone = "99"
    contact.Update()
    assert books.Contact(id=contact.ID).phone == "99"
    assert contact.Delete().IsDeleted
    found = books.Contact(contact_name_contains="النور")
    assert found.IsList
    assert books._ratelimit["limit"] == "10000"


def test_pyzohoapi_inventory(sandbox: Sandbox):
    """PyZohoAPI's inventory objects list, activate, and fetch an image."""
    inventory = connected(pyzohoapi.ZohoInventory, sandbox)
    for name in ("Contact", "Invoice", "SalesOrder", "Bill", "ItemAdjustment", "PriceList", "User", "Warehouse", "Tax",
                 "Currency", "ItemGroup", "PurchaseOrder", "TransferOrder", "Package", "SalesReturn", "Brand", "Bundle",
                 "Account", "Organization", "TaxAuthority", "TaxExemption", "CompositeItem"):  # fmt: skip
        listed = getattr(inventory, name)()
        listed._load()
        assert listed.IsList, name
    row = next(row for row in inventory.Item().Iter(raw=True) if row["image_document_id"])
    item = inventory.Item(id=row["item_id"])
    assert item.GetImage()["content"].startswith(b"\x89PNG")
    assert item.Deactivate()
    assert item.Activate()


# --- when the token is refused, and when it is too much


def test_zohopy_refreshes_a_refused_token(sandbox: Sandbox):
    """Zohopy meets 401 once, fetches another token, and goes on."""
    patient = config(sandbox).model_copy(update={"max_retries": 1})
    with zohopy.SyncZohoClient(patient) as client:
        books = books_of_zohopy.ZohoBooks(client)
        books.items.list()
        sandbox.control("POST", "/oauth", revoke="access")
        assert books.items.list()["code"] == 0
        assert sandbox.calls()["POST /oauth/v2/token"] == 2


def test_zohopy_waits_out_the_minute(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch):
    """Zohopy is told 429 by the hundred-a-minute rule, waits as it thinks right, and is served in the next minute."""
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        sandbox.control("POST", "/clock", advance=seconds + 1)

    monkeypatch.setattr("zohopy._client.time.sleep", wait)
    sandbox.control("POST", "/clock", frozen=True)
    sandbox.control("POST", "/limits", enabled=True, per_minute=2, reset=True)
    patient = config(sandbox).model_copy(update={"max_retries": 1})
    with zohopy.SyncZohoClient(patient) as client:
        assert [books_of_zohopy.ZohoBooks(client).users.list()["code"] for _ in range(3)] == [0, 0, 0]
    assert waited == [60.0]


def test_pyzohoapi_refreshes_a_refused_token(sandbox: Sandbox):
    """PyZohoAPI fetches another token when its own is refused."""
    books = connected(pyzohoapi.ZohoBooks, sandbox)
    assert books.Item().First().ID
    sandbox.control("POST", "/oauth", revoke="access")
    assert books.Item().First().ID
    assert sandbox.calls()["POST /oauth/v2/token"] == 2


@pytest.mark.parametrize("old", [False, True])
def test_pyzohoapi_is_throttled(sandbox: Sandbox, old: bool):
    """PyZohoAPI gives up at an hour's block, whether it comes as 429 or, as it once did, as 200 with a text code."""
    books = connected(pyzohoapi.ZohoBooks, sandbox)
    books.Item().First()
    sandbox.switch(throttle_as_200=old)
    sandbox.control("POST", "/limits", enabled=True, block=3600)
    with pytest.raises(throttled_of_pyzohoapi.ZohoAPIThrottled):
        books.Item().First()


def test_pyzohoapi_waits_out_the_minute(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch):
    """PyZohoAPI repeats a call that was one too many in its minute."""
    monkeypatch.setattr("pyzohoapi.core.sleep", lambda _: sandbox.control("POST", "/clock", advance=61))
    sandbox.control("POST", "/clock", frozen=True)
    books = connected(pyzohoapi.ZohoBooks, sandbox)
    sandbox.control("POST", "/limits", enabled=True, per_minute=1, reset=True)
    assert [books.User().First().ID is not None for _ in range(2)] == [True, True]


DETAILS_OF_PYZOHOAPI = {
    "Item": "product", "Contact": "customer", "Invoice": "invoice", "SalesOrder": "sales_order", "Bill": "bill",
    "ItemAdjustment": "stock_adjustment", "PriceList": "price_list", "User": "user", "SalesReturn": "sales_return",
}  # fmt: skip


@pytest.mark.parametrize(("name", "entity"), DETAILS_OF_PYZOHOAPI.items())
def test_pyzohoapi_details(sandbox: Sandbox, name: str, entity: str):
    """PyZohoAPI loads one record of each kind by its id."""
    inventory = connected(pyzohoapi.ZohoInventory, sandbox)
    record_id = sandbox.truth(entity, "ids")[0]["id"]
    loaded = getattr(inventory, name)(id=record_id)
    assert (loaded.IsLoaded, loaded.ID) == (True, record_id)


def test_pyzohoapi_images_and_verbs(sandbox: Sandbox):
    """PyZohoAPI puts an image, fetches and removes it, confirms and voids an order, and updates an address."""
    inventory = connected(pyzohoapi.ZohoInventory, sandbox)
    item = inventory.Item(id=sandbox.truth("product", "ids")[1]["id"])
    item.AddImage("a.jpg", b"\xff\xd8jpeg")
    assert (item.GetImage()["content"], item.GetImage()["content_type"]) == (b"\xff\xd8jpeg", "image/jpeg")
    assert item.DeleteImage()
    order = inventory.SalesOrder(id=sandbox.truth("sales_order", "ids")[0]["id"])
    assert order.Confirm()
    assert order.Void()
    contact = inventory.Contact(id=sandbox.truth("customer", "ids")[0]["id"])
    contact.billing_address.city = "Basra"
    assert contact.UpdateBilling()
