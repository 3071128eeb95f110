"""Keys that only some editions of the product have."""

from __future__ import annotations

from actors.sandbox.entity import Facts
from actors.sandbox.shapes import Document

GST = "27AAAAA0000A1Z5"


def added_keys(module: str, facts: Facts) -> Document:
    """What the India edition adds to a row or a detail of this module."""
    match module:
        case "items":
            return {
                "hsn_or_sac": facts["hsn_or_sac"] or "8471", "is_taxable": True, "tax_exemption_id": "",
                "tax_exemption_code": "", "taxability_type": "", "item_tax_preferences": [
                    {"tax_id": "5260000000000050011", "tax_name": "GST18", "tax_percentage": 18,
                     "tax_type": "tax_group", "tax_specification": "intra"},
                    {"tax_id": "5260000000000050013", "tax_name": "IGST18", "tax_percentage": 18, "tax_type": "tax",
                     "tax_specification": "inter"},
                ],
            }  # fmt: skip
        case "contacts":
            return {
                "gst_no": facts["gst_no"] or GST, "gst_treatment": "business_gst", "place_of_contact": "MH",
                "pan_no": "",
                "udyam_reg_no": "", "udyam_reg_type": "", "is_taxable": True, "tax_treatment": "business_gst",
            }  # fmt: skip
        case "invoices" | "salesorders" | "creditnotes":
            return {
                "place_of_supply": "MH",
                "gst_no": GST,
                "gst_treatment": "business_gst",
                "is_reverse_charge_applied": False,
            }
        case "bills":
            return {
                "source_of_supply": "MH",
                "destination_of_supply": "MH",
                "gst_no": GST,
                "gst_treatment": "business_gst",
            }
        case "salesreturns" | "customerpayments":
            return {"place_of_supply": "MH", "gst_treatment": "business_gst", "gst_no": GST}
        case _:
            return {}


def added_to_lines(document: Document) -> None:
    """What the India edition adds to each line of a document: the code of the goods or the service."""
    for line in document.get("line_items", ()):
        service = line.get("line_item_type", line.get("product_type")) == "service"
        line |= {
            "hsn_or_sac": "998314" if service else "8471", "reverse_charge_tax_id": "", "tax_exemption_id": "",
            "tax_exemption_code": "",
        }  # fmt: skip
