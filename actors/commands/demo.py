"""`demo`: the main job on real data, with a verdict."""

from __future__ import annotations

from cyclopts import App

from actors.commands.init import samples
from actors.demo.performance import perform
from actors.demo.verdict import table
from tds_runtime.cli import Exit, Output


def register(app: App, output: Output) -> None:
    """Add `demo` to the command line."""

    @app.command
    async def demo(*, seed: int = 1, json: bool = False) -> int:
        """Sync a whole sandbox, send it 500 webhooks, kill an actor on the way, and compare both sides.

        Sandbox, Postgres and daemon run as processes of their own in a temporary directory and are gone afterwards.
        The exit status is 0 when every record matches and every count is exactly what was sent, else 1.

        Args:
            seed: of the sandbox's data.
            json: print one JSON document instead of the table.
        """
        said: list[str] = []

        def progress(words: str) -> None:
            """Say each new stage once; the figures inside it only on a terminal."""
            stage = words.split(":", maxsplit=1)[0]
            if output.stderr.is_terminal or stage not in said:
                output.note(words)
                said.append(stage)

        verdict = await perform(samples() / "config" / "entities", seed=seed, progress=progress)
        if json:
            output.data(verdict)
        else:
            output.stdout.print(table(verdict))
        return Exit.OK if verdict.ok else Exit.FAILED
