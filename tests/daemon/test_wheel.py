"""The wheel holds all that the daemon needs outside its checkout."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import anyio
import httpx2
import pytest
from fixtures.daemon import ROOT, until

from actors.processes import free_port

pytestmark = pytest.mark.anyio


def install_wheel(directory: Path) -> Path:
    """Build the wheel and install it in a new environment; return its command.

    The dependencies are those of the running environment, the project itself comes from the wheel alone.
    """
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         "--wheel-dir", str(directory), str(ROOT)],
        check=True,
    )  # fmt: skip
    [wheel] = directory.glob("*.whl")
    venv.create(directory / "venv", with_pip=False, symlinks=True)
    python = directory / "venv" / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "--python", str(python), "install", "--no-deps", str(wheel)],
        check=True,
    )
    [site] = (directory / "venv" / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return directory / "venv" / "bin" / "tds-runtime"


async def answers(address: str) -> bool:
    async with httpx2.AsyncClient(trust_env=False, timeout=5) as client:
        try:
            return (await client.get(f"{address}/readyz")).status_code == httpx2.codes.OK
        except httpx2.TransportError:
            return False


async def test_init_and_run_from_the_wheel(tmp_path: Path) -> None:
    """`tds-runtime init d && cd d && tds-runtime run` is ready on its own and stops with status 0."""
    command = await anyio.to_thread.run_sync(install_wheel, tmp_path)
    port, sandbox = free_port(), free_port()
    environment = {**os.environ, "TDS_HTTP__BIND": f"127.0.0.1:{port}", "TDS_SANDBOX__PORT": str(sandbox)}
    environment.pop("PYTHONPATH", None)
    await anyio.run_process([str(command), "init", "d"], cwd=tmp_path, env=environment)
    daemon = await anyio.open_process(
        [str(command), "run"], cwd=tmp_path / "d", env=environment, stdout=subprocess.DEVNULL, stderr=None
    )
    try:
        await until(lambda: answers(f"http://127.0.0.1:{port}"), within=90)
    finally:
        daemon.terminate()
        with anyio.fail_after(40):
            assert await daemon.wait() == 0
