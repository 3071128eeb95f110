"""Printed documents: a valid one-page PDF, or a page of HTML, that says the document's number and total."""

from __future__ import annotations

from html import escape

from actors.sandbox.answers import Answer
from actors.sandbox.request import Call
from actors.sandbox.shapes import Document

PRINTED = frozenset({
    "invoices", "salesorders", "bills", "creditnotes", "customerpayments", "vendorpayments", "salesreturns",
    "estimates", "purchaseorders", "retainerinvoices", "vendorcredits", "deliverychallans", "packages", "contacts",
})  # fmt: skip


def wanted_form(call: Call) -> str:
    """`pdf` or `html` when a call asks for paper, by `accept`, by `print`, or by the header; else nothing."""
    asked = call.query.get("accept", "")
    if asked in {"pdf", "html"}:
        return asked
    if call.query.get("print") == "true" or call.headers.get(b"accept", b"").startswith(b"application/pdf"):
        return "pdf"
    return ""


def printed(document: Document, form: str) -> Answer:
    """The paper of a document, as an attachment that is named after its number."""
    number = next((str(value) for key, value in document.items() if key.endswith("_number") and value), "document")
    name = "".join(letter if letter.isascii() and letter not in '"\\/' else "_" for letter in number)
    text = f"{number}  {document.get('total', document.get('amount', ''))}"
    disposition = ((b"content-disposition", f'attachment; filename="{name}.{form}"'.encode()),)
    if form == "html":
        body = f"<!DOCTYPE html><html><body><h1>{escape(text)}</h1></body></html>".encode()
        return Answer(200, body, disposition, b"text/html;charset=UTF-8")
    return Answer(200, portable(text), disposition, b"application/pdf")


def portable(text: str) -> bytes:
    """One page of PDF with a line of text on it; what is not Latin becomes a question mark."""
    shown = text.encode("latin-1", "replace").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
    drawing = b"BT /F1 18 Tf 72 720 Td (" + shown + b") Tj ET"
    objects = (
        b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources 6 0 R >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(drawing), drawing),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>", b"<< /Font << /F1 5 0 R >> >>",
    )  # fmt: skip
    file, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(file))
        file += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    return file + (
        b"xref\n0 %d\n0000000000 65535 f \n%btrailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
        % (size, table, size, len(file))
    )
