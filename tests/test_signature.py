"""Who may send webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path
from random import Random
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.zoho import signature
from actors.zoho.signature import Verifier

SECRET = "tdsRuntimeSecret0123456789"
JSON, FORM = b"application/json", b"application/x-www-form-urlencoded; charset=utf-8"
VECTORS = msgspec.json.decode((Path(__file__).parent / "samples" / "webhook_signature_vectors.json").read_bytes())
HEADER = b"x-zoho-webhook-signature"

texts = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12)
parameters = st.lists(st.tuples(texts, texts), max_size=6)


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda vector: vector["case"])
def test_the_published_vectors_hold(vector: dict) -> None:
    """Query, JSON and form deliveries are signed as the samples say, and verified so in both encodings."""
    query = urlencode(vector["query"]).encode()
    form = vector["form"]
    body = urlencode(form).encode() if form else vector["raw_json_body"].encode()
    content_type = FORM if form else JSON
    expected = vector["x_zoho_webhook_signature_hex"]
    assert signature.signed_text(query, content_type, body) == vector["string_to_sign"].encode()
    assert signature.sign(vector["secret"], query=query, content_type=content_type, body=body) == expected
    verifier = Verifier(secrets=[vector["secret"]])
    for spelled in (
        expected,
        expected.upper(),
        base64.b64encode(bytes.fromhex(expected)).decode(),
        f"sha256={expected}",
    ):
        assert verifier.verify([(HEADER, spelled.encode())], query, content_type, body)


@given(parameters, parameters, st.booleans(), st.binary(max_size=200))
def test_an_independent_signer_is_believed(
    query: list[tuple[str, str]], fields: list[tuple[str, str]], form: bool, raw: bytes
) -> None:
    """For any parameters and body the signature made by the documented recipe is accepted."""
    body = urlencode(fields).encode() if form else raw
    pairs = sorted(query + (fields if form else []), key=lambda pair: pair[0].encode())
    text = "".join(name + value for name, value in pairs).encode() + (b"" if form else raw)
    digest = hmac.new(SECRET.encode(), text, hashlib.sha256).hexdigest()
    verifier = Verifier(secrets=["another secret", SECRET])
    assert verifier.verify([(HEADER, digest.encode())], urlencode(query).encode(), FORM if form else JSON, body)


@given(st.binary(min_size=1, max_size=200), st.data())
def test_one_changed_bit_is_noticed(body: bytes, data: st.DataObject) -> None:
    """No bit of body or signature can change without being noticed."""
    digest = bytes.fromhex(signature.sign(SECRET, body=body))
    place = data.draw(st.integers(0, 8 * (len(body) + len(digest)) - 1))
    changed = bytearray(body + digest)
    changed[place // 8] ^= 1 << place % 8
    forged, claimed = bytes(changed[: len(body)]), bytes(changed[len(body) :])
    assert not Verifier(secrets=[SECRET]).verify([(HEADER, claimed.hex().encode())], b"", JSON, forged)


@given(st.binary(max_size=100))
def test_any_header_is_only_right_or_wrong(header: bytes) -> None:
    """Whatever stands in the header, the answer is no, never an error."""
    assert not Verifier(secrets=[SECRET]).verify([(HEADER, header)], b"", JSON, b"{}")


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_any_query_and_form_can_be_judged(query: bytes, body: bytes) -> None:
    """Broken percent escapes and bytes that are no UTF-8 are signed as they decode."""
    digest = signature.sign(SECRET, query=query, content_type=FORM, body=body)
    assert Verifier(secrets=[SECRET]).verify([(HEADER, digest.encode())], query, FORM, body)


def _spoilt(random: Random, given: bytes) -> bytes:
    """The same with one byte flipped, put in, taken out or moved, or cut short."""
    place, spoilt = random.randrange(len(given) + 1), bytearray(given)
    match random.randrange(5) if given else 1:
        case 0:
            spoilt[place % len(given)] ^= 1 << random.randrange(8)
        case 1:
            spoilt.insert(place, random.randrange(256))
        case 2:
            del spoilt[place % len(given)]
        case 3:
            spoilt.insert(place, spoilt.pop(random.randrange(len(given))))
        case _:
            del spoilt[place:]
    return bytes(spoilt)


@pytest.mark.no_cover
def test_a_hundred_thousand_mutations_and_none_is_believed() -> None:
    """Query, body, content type or signature of a genuine request spoilt: 0 of 100,000 are accepted.

    What is signed does not tell a name from its value, nor how either was escaped: a mutation that leaves text and
    digest as they were is the same message, and is not counted.
    """
    random, verifier = Random(1), Verifier(secrets=[SECRET])
    genuine = [
        (urlencode(vector["query"]).encode(), FORM if vector["form"] else JSON,
         urlencode(vector["form"]).encode() or vector["raw_json_body"].encode(),
         vector["x_zoho_webhook_signature_hex"].encode())
        for vector in VECTORS["vectors"]
    ]  # fmt: skip
    tried = accepted = 0
    while tried < 100_000:
        parts = list(random.choice(genuine))
        before = signature.signed_text(*parts[:3]), signature.read_digest(parts[3])
        for _ in range(random.randint(1, 3)):
            place = random.choice((0, 2, 2, 2, 3, 3))
            parts[place] = _spoilt(random, parts[place])
        if random.random() < 0.1:
            parts[1] = FORM if parts[1] == JSON else JSON
        query, content_type, body, header = parts
        if (signature.signed_text(query, content_type, body), signature.read_digest(header)) != before:
            tried += 1
            accepted += verifier.verify([(HEADER, header)], query, content_type, body)
    assert accepted == 0


def test_every_live_secret_counts_and_no_other() -> None:
    """During a rotation both secrets are accepted, afterwards only the new one."""
    old, new = "the old secret", "the new secret"
    signed_old = [(HEADER, signature.sign(old, body=b"{}").encode())]
    signed_new = [(HEADER, signature.sign(new, body=b"{}").encode())]
    assert Verifier(secrets=[new, old]).verify(signed_old, b"", JSON, b"{}")
    assert Verifier(secrets=[new, old]).verify(signed_new, b"", JSON, b"{}")
    assert not Verifier(secrets=[new]).verify(signed_old, b"", JSON, b"{}")


def test_without_secrets_nothing_is_believed() -> None:
    """No secret means no delivery, not any delivery."""
    nothing = Verifier(secrets=[])
    assert not nothing.verify([], b"", JSON, b"{}")
    assert not nothing.verify([(HEADER, b"")], b"", JSON, b"{}")
    assert not nothing.verify([(HEADER, hmac.digest(b"", b"{}", "sha256").hex().encode())], b"", JSON, b"{}")
    assert not nothing.verify([(HEADER, b"0" * 64)], b"", JSON, b"{}")


def test_a_header_said_twice_is_refused() -> None:
    """Two signatures leave open which one was checked."""
    right = (HEADER, signature.sign(SECRET, body=b"{}").encode())
    assert not Verifier(secrets=[SECRET]).verify([right, right], b"", JSON, b"{}")


def test_header_and_encoding_can_be_fixed() -> None:
    """A sender that signs in base64 under another header is accepted only so."""
    digest = signature.sign(SECRET, body=b"{}")
    in_base64 = base64.b64encode(bytes.fromhex(digest))
    verifier = Verifier(secrets=[SECRET], header="X-Zoho-Signature", encoding="base64")
    assert verifier.verify([(b"x-zoho-signature", in_base64)], b"", JSON, b"{}")
    assert not verifier.verify([(b"x-zoho-signature", digest.encode())], b"", JSON, b"{}")
    assert not verifier.verify([(HEADER, in_base64)], b"", JSON, b"{}")
    only_hex = Verifier(secrets=[SECRET], encoding="hex")
    assert not only_hex.verify([(HEADER, in_base64)], b"", JSON, b"{}")


def test_the_signature_may_stand_in_the_query() -> None:
    """Where no header can be set it is a parameter, which is no part of what is signed, and is not kept."""
    verifier = Verifier(secrets=[SECRET], tokens=["a static token"], parameter="sig")
    digest = signature.sign(SECRET, query=b"event=x", body=b"{}").encode()
    for query in (b"event=x&sig=" + digest, b"s%69g=" + digest + b"&event=x"):
        assert verifier.verify([], query, JSON, b"{}")
        assert verifier.public_query(query) == "event=x"
    assert verifier.verify([(HEADER, digest)], b"event=x", JSON, b"{}")
    assert not verifier.verify([], b"event=y&sig=" + digest, JSON, b"{}")
    assert not verifier.verify([], b"event=x&sig=" + digest + b"&sig=" + digest, JSON, b"{}")
    assert not verifier.verify([(HEADER, digest)], b"event=x&sig=" + digest, JSON, b"{}")
    assert not verifier.verify([], b"event=x&sig=0&token=a+static+token", JSON, b"{}")
    assert not Verifier(secrets=[SECRET]).verify([], b"event=x&sig=" + digest, JSON, b"{}")


def test_a_static_token_stands_in_for_a_missing_signature_only() -> None:
    """A token in its header or parameter is accepted; beside a wrong signature it changes nothing."""
    verifier = Verifier(secrets=[SECRET], tokens=["a static token"])
    assert verifier.verify([(b"x-webhook-token", b"a static token")], b"", JSON, b"{}")
    assert verifier.verify([], b"event=x&token=a+static%20token", JSON, b"{}")
    assert not verifier.verify([], b"token=another", JSON, b"{}")
    assert not verifier.verify([], b"token=a+static+token&token=a+static+token", JSON, b"{}")
    assert not verifier.verify([(HEADER, b"0" * 64)], b"token=a+static+token", JSON, b"{}")


def test_the_token_is_taken_out_of_the_query_that_is_kept() -> None:
    """What is stored and logged of the query does not hold the token, and is otherwise unchanged."""
    verifier = Verifier(secrets=[], tokens=["a static token"])
    assert verifier.public_query(b"a=%C3%A4&token=secret&b=") == "a=%C3%A4&b="
    assert verifier.public_query(b"a=1&a=2") == "a=1&a=2"
    assert verifier.public_query(b"") == ""


def test_too_many_parameters_are_no_webhook() -> None:
    """A body made to be expensive to sort is refused before it is taken apart."""
    body = b"&" * signature.MOST_PARAMETERS
    assert not Verifier(secrets=[SECRET]).verify([(HEADER, b"0" * 64)], b"", FORM, body)
    with pytest.raises(ValueError, match="parameters"):
        signature.sign(SECRET, content_type=FORM, body=body)
