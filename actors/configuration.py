"""Everything that tds.toml may say, as one type; what each section means is said where it is used."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from actors import fetcher, healer, metrics_reporter, pull, reconciler, webhooks
from actors.alerting import routing
from actors.alerting.channels import Channel
from actors.alerting.planning import Settings
from actors.alerting.rules import Rule
from actors.api import authentication
from actors.healer import Retention
from actors.sandbox import options as sandbox
from actors.sandbox_process import Options as SandboxOptions
from actors.service_levels import levels
from actors.zoho import client as zoho
from actors.zoho.images import Options as ImageOptions
from tds_runtime import cli, database, http, logs, queue
from tds_runtime.schedule import Schedule
from tds_runtime.values import Secret


class EntityOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section [entities]."""

    directory: Path = Path("config/entities")
    """One mapping file for each kind of record."""
    create_tables: bool | None = None
    """Make default target tables where they are absent; when nothing is said: only in the embedded Postgres."""


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that tds.toml may say."""

    database: database.Options
    runtime: cli.Options = cli.Options()
    http: http.Options = http.Options()
    webhooks: webhooks.Options = webhooks.Options()
    api: authentication.Options = authentication.Options()
    zoho: zoho.Options = zoho.Options()
    entities: EntityOptions = EntityOptions()
    images: ImageOptions = ImageOptions()
    queue: queue.Options = queue.Options()
    pull: pull.Options = pull.Options()
    fetcher: fetcher.Options = fetcher.Options()
    healer: healer.Options = healer.Options()
    retention: Retention = Retention()
    reconciler: reconciler.Options = reconciler.Options()
    metrics: metrics_reporter.Options = metrics_reporter.Options()
    service_levels: levels.Options = levels.Options()
    sandbox: SandboxOptions = SandboxOptions()
    log: logs.Options = logs.Options()
    schedule: dict[str, Schedule] = {}
    alerter: routing.Options = routing.Options()
    alert: dict[str, Rule] = {}
    route: dict[str, routing.Route] = {}
    channel: dict[str, Channel] = {}
    inhibit: tuple[routing.Inhibit, ...] = ()

    @property
    def alerting(self) -> Settings:
        """What is said of alerts and of who is told."""
        return Settings(rules=self.alert, routes=self.route, inhibits=self.inhibit, options=self.alerter)

    def resolved(self, address: str) -> Config:
        """With a sandbox: what is not said about the source is the sandbox's, and its webhooks come to `address`."""
        if not self.sandbox.enabled:
            return self
        url = f"http://127.0.0.1:{self.sandbox.port}"
        source = replace(
            self.zoho,
            organization_id=self.zoho.organization_id or sandbox.ORGANIZATION_ID,
            client_id=self.zoho.client_id or sandbox.CLIENT_ID,
            client_secret=self.zoho.client_secret or Secret(sandbox.CLIENT_SECRET),
            refresh_token=self.zoho.refresh_token or Secret(sandbox.REFRESH_TOKEN),
            accounts_url=self.zoho.accounts_url or url,
            api_url=self.zoho.api_url or url,
        )
        secrets = self.webhooks.secrets or (Secret(sandbox.WEBHOOK_SECRET),)
        deliver_to = self.sandbox.deliver_to or f"http://{address}{webhooks.CATCH_ALL}"
        return replace(
            self,
            zoho=source,
            webhooks=replace(self.webhooks, secrets=secrets),
            sandbox=replace(self.sandbox, deliver_to=deliver_to),
        )
