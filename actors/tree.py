"""The whole daemon on one page: who runs under whom, and what each is given."""

from __future__ import annotations

from pathlib import Path
from socket import socket
from typing import Any, Never

from actors import fetcher, healer, metrics_reporter, pull, reconciler, schedules
from actors.alerter import alerter
from actors.alerting import ways
from actors.alerting.conditions import Conditions
from actors.api import openapi
from actors.api.application import table
from actors.api.services import Services
from actors.bell import Listeners
from actors.clerk import clerk
from actors.configuration import Config
from actors.entity_sync import entity_sync
from actors.memory import Memory
from actors.messages import Compare, Heal, HealWake, RunWake, Wake
from actors.parts import Parts, graces
from actors.sandbox_process import sandbox_process
from actors.source import source
from actors.storage import storage
from actors.strays import strays
from actors.ticker import ticker
from actors.zoho import absent
from tds_runtime import Budget, Child, Spec, Supervisor, cli, http, intake, nodes, sql

ALONE = Budget(5, per=60)
"""An actor that crashes more often is put aside and tried again by itself; its neighbours never notice."""


class Trees:
    """Makes the tree of one process, again whenever its configuration has changed."""

    def __init__(self) -> None:
        self._memory = Memory()

    def __call__(self, config: Config, host: cli.Host) -> Supervisor:
        """The tree of this configuration, made of the parts of the one before it where they are configured alike."""
        return tree(config, host, self._memory)


def tree(config: Config, host: cli.Host, memory: Memory | None = None) -> Supervisor:
    """Make every actor with what it needs; nothing runs yet."""
    sql.read_all("tds_runtime", "actors")
    config = config.resolved(host.address)
    parts = Parts(config, memory)
    store, tasks, bell = parts.database, parts.queue, parts.bell
    syncs = of_entities(parts)
    unmapped = strays(queue=tasks).options(budget=ALONE)
    writing = intake.writer(database=store, on_stored=bell.stored)
    fetching, pulling = of_source(config, parts)
    healing, comparing = of_upkeep(config, parts)
    working = clerk(database=store, queue=tasks, due=bell.work).options(budget=ALONE)
    bell.hang(
        Listeners(
            syncs={sync.name: sync.ref for sync in syncs},
            strays=unmapped.ref,
            fetcher=fetching.ref,
            pull=pulling.ref,
            healer=healing.ref,
            reconciler=comparing.ref,
            clerk=working.ref,
            writer=writing.ref,
        )
    )
    schedules.check(config.schedule, parts.actions)
    ways.check(config.alerting, config.channel)
    work: list[Child] = [
        writing,
        nodes.node(database=store, node=parts.node, queue=tasks, on_due=bell.work),
        *([sandbox_process(options=config.sandbox).options(budget=ALONE)] if config.sandbox.enabled else []),
        source(client=parts.client, shared=parts.upstreams).options(budget=ALONE),
        *syncs,
        unmapped,
        fetching,
        pulling,
        ticking(config, parts),
        healing,
        comparing,
        working,
        alerting(config, parts, host),
        reporting(config, parts, host),
        listener(config, parts, host),
    ]
    root = storage(database=store, server=parts.server, statements=absent.Prepared(parts.statements()))
    return Supervisor("tds", strategy="rest_for_one", children=[root, Supervisor("work", children=work)])


def described(config: Config) -> dict[str, Any]:
    """The OpenAPI document of what this configuration would serve; nothing runs for it."""
    memory = Memory()
    with socket() as unbound:
        host = cli.Host(unbound)
        tree(config, host, memory)
        config = config.resolved(host.address)
        return openapi.document(table(services(config, Parts(config, memory), host)))


def of_entities(parts: Parts) -> list[Spec[Wake]]:
    """One sync actor for each kind of record."""
    return [
        entity_sync(
            entity=entity,
            database=parts.database,
            queue=parts.queue,
            holds_lease=parts.node.holds_lease,
            observe=parts.attempted,
        )
        .named(entity.name)
        .options(budget=ALONE)
        for entity in parts.entities
    ]


def of_source(config: Config, parts: Parts) -> tuple[Spec[Wake], Spec[RunWake]]:
    """The two that ask the source: fetcher and pull."""
    fetching = fetcher.fetcher(
        database=parts.database,
        queue=parts.queue,
        client=parts.client,
        entities=parts.entities,
        options=config.fetcher,
        due=parts.bell.work,
        pictures=parts.pictures,
    )
    pulling = pull.pull(
        database=parts.database,
        queue=parts.queue,
        client=parts.client,
        entities=parts.entities,
        options=config.pull,
        due=parts.bell.work,
        images=parts.pictures is not None,
    )
    return fetching.options(budget=ALONE), pulling.options(budget=ALONE)


def ticking(config: Config, parts: Parts) -> Spec[Never]:
    """Who decides slots."""
    deciding = ticker(
        database=parts.database,
        schedules=config.schedule,
        actions=parts.actions,
        boot_id=parts.node.boot_id,
        lease=config.queue.lease / 2,  # the next node ticks before the tasks of the one before are given to it
    )
    return deciding.options(budget=ALONE)


def of_upkeep(config: Config, parts: Parts) -> tuple[Spec[Heal | HealWake], Spec[Compare]]:
    """The two that look after what is stored: healer and reconciler."""
    healing = healer.healer(
        database=parts.database,
        queue=parts.queue,
        metrics=parts.metrics,
        options=config.healer,
        retention=config.retention,
        levels=config.service_levels,
        node=parts.node.name,
        premises=parts.premises(config),
    )
    comparing = reconciler.reconciler(
        database=parts.database,
        queue=parts.queue,
        client=parts.client,
        entities=parts.entities,
        options=config.reconciler,
        due=parts.bell.work,
    )
    return healing.options(budget=ALONE), comparing.options(budget=ALONE)


def alerting(config: Config, parts: Parts, host: cli.Host) -> Spec[Never]:
    """Who tells people."""
    limits = Conditions(
        thresholds=config.healer.thresholds,
        silence=config.healer.silence,
        heartbeat=config.healer.heartbeat,
        graces=graces(config.schedule),
    )
    telling = alerter(
        database=parts.database,
        tap=host.tap,
        metrics=parts.metrics,
        settings=config.alerting,
        channels=config.channel,
        limits=limits,
        boot_id=parts.node.boot_id,
        node=parts.node.name,
        redact=parts.redactor.text,
    )
    return telling.options(budget=ALONE)


def reporting(config: Config, parts: Parts, host: cli.Host) -> Spec[Never]:
    """Who says what was seen."""
    seeing = metrics_reporter.metrics_reporter(
        database=parts.database,
        metrics=parts.metrics,
        runtime=host.get,
        configuration=host.configuration,
        options=config.metrics,
        levels=config.service_levels,
        writer=parts.bell.listeners.writer,
        node=parts.node.name,
        directory=config.database.data_directory if parts.server else Path(),
    )
    return seeing.options(budget=ALONE)


def services(config: Config, parts: Parts, host: cli.Host) -> Services:
    """What the endpoints of the web application work with."""
    return Services(
        database=parts.database,
        queue=parts.queue,
        metrics=parts.metrics,
        entities=parts.entities,
        schedules=config.schedule,
        runtime=host.get,
        wake_pull=parts.bell.run,
        wake_reconciler=parts.bell.compare,
        wake_clerk=parts.bell.job,
        healer=parts.bell.listeners.healer,
        writer=parts.bell.listeners.writer,
        options=config.api,
        thresholds=config.healer.thresholds,
        healing=config.healer,
        acknowledged_for=config.alerter.acknowledged_for,
        levels=config.service_levels,
        clients=parts.clients,
        redact=parts.redactor.known,
    )


def listener(config: Config, parts: Parts, host: cli.Host) -> Spec[Never]:
    """The web application on the socket that the process has bound."""
    listening = http.listener(
        app=parts.application(services(config, parts, host), config.webhooks),
        sock=host.listening,
        options=config.http,
        observe=parts.metrics.observe_request,
    )
    return listening.options(stop=config.http.grace + 2)
