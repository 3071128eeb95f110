"""What stands below a record: comments, persons, payments, credits, mails and attached files."""

from __future__ import annotations

from collections import defaultdict

from actors.sandbox.answers import Answer, Refused, failure, missing, success
from actors.sandbox.clock import Clock
from actors.sandbox.request import Call, any_part, multipart_part
from actors.sandbox.shapes import Document

# the last word of the path: (plural key, singular key, id key)
NAMES: dict[str, tuple[str, str, str]] = {
    "comments": ("comments", "comment", "comment_id"), "payments": ("payments", "payment", "payment_id"),
    "creditsapplied": ("credits", "credit", "creditnotes_invoice_id"),
    "refunds": ("creditnote_refunds", "creditnote_refund", "creditnote_refund_id"),
    "contactpersons": ("contact_persons", "contact_person", "contact_person_id"),
    "address": ("addresses", "address_info", "address_id"),
    "emailhistory": ("email_history", "email", "mailhistory_id"),
    "templates": ("templates", "template", "template_id"), "users": ("users", "user", "user_id"),
    "tasks": ("tasks", "task", "task_id"), "exchangerates": ("exchange_rates", "exchange_rate", "exchange_rate_id"),
    "transactions": ("transactions", "transaction", "transaction_id"),
    "matching": ("matching_transactions", "transaction", "transaction_id"),
    "match": ("matching_transactions", "transaction", "transaction_id"),
    "statement": ("statement", "statement", "statement_id"), "documents": ("documents", "document", "document_id"),
    "expenses": ("expensehistory", "expense", "expense_id"),
    "bills": ("bills_credited", "bill", "vendor_credit_bill_id"),
    "invoices": ("invoices", "invoice", "invoice_id"), "forecast": ("data", "data", ""),
    "receivables": ("unused_credits_receivable", "unused_credit", ""),
    "retainerpayments": ("unused_credits_receivable", "unused_credit", ""),
    "history": ("asset_history", "asset_history", ""), "unitconversions": ("unit_conversions", "unit_conversion", ""),
    "defaultstoragemapping": ("default_storage_location_mapping", "mapping", ""),
}  # fmt: skip
OTHERWISE: dict[tuple[str, str], tuple[str, str, str]] = {
    ("contacts", "comments"): ("contact_comments", "comment", "comment_id"),
    ("customerpayments", "refunds"): ("payment_refunds", "payment_refund", "payment_refund_id"),
    ("vendorpayments", "refunds"): ("vendorpayment_refunds", "vendorpayment_refund", "vendorpayment_refund_id"),
    ("vendorcredits", "refunds"): ("vendor_credit_refunds", "vendor_credit_refund", "vendor_credit_refund_id"),
    ("creditnotes", "invoices"): ("invoices_credited", "invoice", "creditnote_invoice_id"),
}  # fmt: skip
FILES = frozenset({"attachment", "receipt", "attachments"})
MAILS = frozenset({"email", "paymentreminder", "statements"})
SAID = {"comments": ("Comments added.", "Comment has been updated.", "The comment has been deleted.")}


class Parts:
    """The parts that were written, by module, record and name; the seeded ones are in the records' own documents."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._made = 0
        self._kept: defaultdict[tuple[str, str, str], dict[str, Document]] = defaultdict(dict)
        self._files: dict[tuple[str, str], tuple[str, bytes, bytes]] = {}

    def named(self, module: str, name: str) -> tuple[str, str, str]:
        """Plural, singular and id key of a part."""
        return OTHERWISE.get((module, name)) or NAMES.get(name, (name, name.removesuffix("s"), f"{name}_id"))

    # --- reading

    def read(self, module: str, record_id: str, rest: tuple[str, ...], document: Document) -> Answer:
        """A part of a record: a list, one of its rows, a mail to be sent, or a file."""
        name = rest[0]
        if name in FILES:
            return self._file(module, record_id)
        if name in MAILS:
            return success({"data": _mail(document)})
        plural, singular, id_key = self.named(module, name)
        own = document.get(plural, document.get(name))
        if own is not None and not isinstance(own, list):
            return success({plural: own})
        rows = [*(own or ()), *self._kept[module, record_id, name].values()]
        if len(rest) == 1 or (not id_key and not rest[1].isdecimal()):
            return success({plural: rows, "page_context": one_page(name, len(rows))})
        for row in rows:
            if row.get(id_key) == rest[1]:
                return success({singular: row})
        if rest[1].isdecimal():
            raise missing()
        return success({rest[-1] if name not in NAMES else plural: []})

    def everywhere(self, module: str, name: str, part_id: str = "") -> Answer:
        """Such a part of any record: `/creditnotes/refunds`, or one by its id."""
        plural, singular, _ = self.named(module, name)
        kept = (rows for (owner, _, part), rows in self._kept.items() if (owner, part) == (module, name))
        found = {key: row for rows in kept for key, row in rows.items()}
        if not part_id:
            return success({plural: [*found.values()], "page_context": one_page(name, len(found))})
        if part_id not in found:
            raise missing()
        return success({singular: found[part_id]})

    def owner(self, module: str, name: str, part_id: str) -> str:
        """Which record a written part belongs to; refuses when there is no such part."""
        for (owner, record_id, part), rows in self._kept.items():
            if (owner, part) == (module, name) and part_id in rows:
                return record_id
        raise missing()

    def _file(self, module: str, record_id: str) -> Answer:
        found = self._files.get((module, record_id))
        if found is None:
            raise Refused(failure(404, 1002, "Attachment does not exist."))
        name, content_type, body = found
        disposition = (b"content-disposition", f'attachment; filename="{name}"'.encode())
        return Answer(200, body, (disposition,), content_type)

    # --- writing

    def write(self, call: Call, module: str, record_id: str, rest: tuple[str, ...], label: str) -> Answer:
        """Add, change or remove a part; an action that is none of them is acknowledged."""
        name = rest[0]
        if name in FILES:
            return self._write_file(call, module, record_id, label)
        if name in MAILS:
            return success({}, f"Your {label} has been sent.")
        if rest[1:] in {("billing",), ("shipping",)}:
            return success({}, f"{rest[1].capitalize()} address updated")
        if name not in NAMES or (call.method == "POST" and len(rest) > 1):
            return success({}, f"The {label} has been updated.")
        return self._write_row(call, (module, record_id, name), rest[1:])

    def _write_file(self, call: Call, module: str, record_id: str, label: str) -> Answer:
        if call.method == "DELETE":
            self._files.pop((module, record_id), None)
            return success({}, f"Your file is no longer attached to the {label}.")
        kind = call.headers.get(b"content-type", b"").decode("latin-1")
        part = multipart_part(kind, call.body, "attachment") or any_part(kind, call.body)
        if part is None:
            raise Refused(failure(400, 4, "Invalid value passed for attachment"))
        self._files[module, record_id] = (part.file_name or "file", part.content_type, part.body)
        return success({}, f"Your file has been successfully attached to the {label}.")

    def _write_row(self, call: Call, place: tuple[str, str, str], rest: tuple[str, ...]) -> Answer:
        module, _, name = place
        _, singular, id_key = self.named(module, name)
        words = singular.replace("_", " ")
        added, changed, removed = SAID.get(
            name, (f"The {words} has been added.", f"The {words} has been updated.", f"The {words} has been deleted.")
        )
        if call.method == "POST":
            row = self._row(call, id_key, name)
            self._kept[place][row[id_key]] = row
            return success({singular: row}, added, 201)
        if rest and call.method == "DELETE":
            self._kept[place].pop(rest[0], None)
            return success({}, removed)
        row = self._kept[place].setdefault(rest[0] if rest else "", {})
        row |= call.document()
        return success({singular: row}, changed)

    def _row(self, call: Call, id_key: str, name: str) -> Document:
        self._made += 1
        now = self._clock.now()
        body = call.document()
        if name == "comments":
            said = str(body.get("description") or call.query.get("description") or "")
            body = {
                "description": said, "commented_by_id": "5260815040000000000", "commented_by": "Sample Owner",
                "comment_type": "internal", "date": self._clock.date(now), "date_description": "just now",
                "time": self._clock.local(now).strftime("%I:%M %p"), "operation_type": "", "transaction_id": "",
            }  # fmt: skip
        return {id_key: f"5260819{self._made:012d}", **body}


def one_page(name: str, count: int) -> Document:
    """The page context of a part: all of it on one page."""
    return {
        "page": 1, "per_page": max(200, count), "has_more_page": False, "report_name": name.title(),
        "applied_filter": "Status.All", "sort_column": "date", "sort_order": "D",
    }  # fmt: skip


def _mail(document: Document) -> Document:
    """What the screens would put into a mail about a record."""
    number = next((str(value) for key, value in document.items() if key.endswith("_number")), "")
    address = str(document.get("email", ""))
    to = [{
        "email": address, "first_name": "", "last_name": "", "salutation": "", "mobile": "", "phone": "",
        "selected": True, "contact_person_id": "",
    }]  # fmt: skip
    return {
        "subject": f"{number} from Levant Trading Demo", "body": f"Dear customer, please find {number} attached.",
        "to_contacts": to if address else [], "emailtemplates": [], "attachment_name": f"{number}.pdf",
        "file_name": f"{number}.pdf", "file_name_without_extension": number, "attach_pdf": True, "from_emails": [
            {"user_name": "Sample Owner", "selected": True, "email": "owner@example.com", "is_org_email_id": False},
        ], "error_list": [], "deprecated_placeholders_used": [], "gateways_configured": False,
        "gateways_associated": False, "email_template_id": "",
        "customer_id": document.get("customer_id", document.get("contact_id", "")),
    }  # fmt: skip
