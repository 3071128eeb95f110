"""What is configured about the source: who we are there, where it is, and how gently it is treated."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from actors.zoho import hosts
from actors.zoho.call import Policy
from actors.zoho.hosts import DataCenter
from actors.zoho.oauth import Credentials
from actors.zoho.transport import Timeouts
from tds_runtime import breaker, limiter
from tds_runtime.config import Duration, Secret


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section [zoho]."""

    data_center: DataCenter = "us"
    organization_id: str = ""
    client_id: str = ""
    client_secret: Secret = Secret("")
    refresh_token: Secret = Secret("")
    accounts_url: str = ""
    """Only to point at a sandbox; else the data centre's."""
    api_url: str = ""
    """Only to point at a sandbox; else the host that the token answer names."""
    calls_per_minute: Annotated[int, Meta(ge=0)] = 100
    """For the organisation, over all nodes; 0 is no limit (a sandbox)."""
    concurrency: Annotated[int, Meta(ge=1, le=100)] = 5
    """Calls at once."""
    reserve: Annotated[float, Meta(ge=0, lt=1)] = 0.2
    """Share of the day's calls that full and stock runs leave to changes: an hourly look takes 150 calls a day."""
    page_size: Annotated[int, Meta(ge=1, le=200)] = 200
    tries: Annotated[int, Meta(ge=1, le=20)] = 4
    deadline: Duration = Duration("120s")
    """For one call with all its tries, waiting for permits not counted."""
    image_bytes: Annotated[int, Meta(ge=1)] = 10 << 20
    timeouts: Timeouts = Timeouts()
    breaker: breaker.Options = breaker.Options()

    def __post_init__(self) -> None:
        for url in (self.accounts_url, self.api_url):
            if url:
                hosts.checked(url)

    @property
    def credentials(self) -> Credentials:
        """What the accounts server wants."""
        return Credentials(
            accounts=(self.accounts_url or hosts.CENTERS[self.data_center].accounts).rstrip("/"),
            client_id=self.client_id,
            client_secret=self.client_secret,
            refresh_token=self.refresh_token,
        )

    @property
    def policy(self) -> Policy:
        """How a call is made."""
        return Policy(
            organization_id=self.organization_id,
            base=self.api_url.rstrip("/"),
            fallback=hosts.CENTERS[self.data_center].api,
            tries=self.tries,
            deadline=self.deadline,
            reserve=self.reserve,
        )

    @property
    def allowance(self) -> limiter.Options:
        """What the source allows."""
        return limiter.Options(
            calls_per_minute=self.calls_per_minute, concurrency=self.concurrency, reserve=self.reserve
        )
