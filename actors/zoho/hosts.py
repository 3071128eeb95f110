"""Where Zoho lives: its data centres, and which addresses this daemon may call at all."""

from __future__ import annotations

import ipaddress
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from msgspec import Struct

DataCenter: TypeAlias = Literal["us", "eu", "in", "au", "jp", "ca", "cn", "sa"]
Api: TypeAlias = Literal["books", "inventory"]

PREFIXES: dict[str, str] = {"books": "/books/v3", "inventory": "/inventory/v1"}


class Hosts(Struct, frozen=True):
    """The two addresses of a data centre."""

    accounts: str
    api: str


CENTERS: dict[str, Hosts] = {
    "us": Hosts("https://accounts.zoho.com", "https://www.zohoapis.com"),
    "eu": Hosts("https://accounts.zoho.eu", "https://www.zohoapis.eu"),
    "in": Hosts("https://accounts.zoho.in", "https://www.zohoapis.in"),
    "au": Hosts("https://accounts.zoho.com.au", "https://www.zohoapis.com.au"),
    "jp": Hosts("https://accounts.zoho.jp", "https://www.zohoapis.jp"),
    "ca": Hosts("https://accounts.zohocloud.ca", "https://www.zohoapis.ca"),
    "cn": Hosts("https://accounts.zoho.com.cn", "https://www.zohoapis.com.cn"),
    "sa": Hosts("https://accounts.zoho.sa", "https://www.zohoapis.sa"),
}

ALLOWED = frozenset(host.removeprefix("https://") for hosts in CENTERS.values() for host in (hosts.accounts, hosts.api))


def checked(url: str) -> str:
    """The address without a trailing slash; `ValueError` when it is not one this daemon may call.

    Only Zoho's hosts over https, or this very machine (a sandbox) over either scheme.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError(f"{host or 'the address'}: an address takes no user, query or fragment")
    if is_loopback(host):
        if parts.scheme not in {"http", "https"}:
            raise ValueError(f"{host}: expected http or https, got {parts.scheme!r}")
    elif parts.scheme != "https":
        raise ValueError(f"{host}: only https leaves this machine")
    elif host not in ALLOWED or parts.port not in {None, 443}:
        raise ValueError(f"{host} is not one of Zoho's hosts")
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether this name or address never leaves the machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
