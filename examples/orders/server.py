"""A Redis server in a temporary folder, for as long as the example runs."""

import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL

import anyio


def find_server() -> str | None:
    """Return the path of a server that is installed, None if there is none."""
    return shutil.which("redis-server") or shutil.which("valkey-server")


@asynccontextmanager
async def running_server(program: str, folder: Path) -> AsyncGenerator[str]:
    """Run a server, which writes its data to a folder.

    Args:
        program: The path of the server.
        folder: The folder.

    Yields:
        The URL of the server: a socket in the folder, so no port can be in use.
    """
    socket = folder / "socket"
    options = ("--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--appendonly", "yes")
    async with await anyio.open_process([program, *options], stdin=DEVNULL, stdout=DEVNULL) as process:
        try:
            with anyio.fail_after(20):
                # The server creates the socket when it can answer.
                while not socket.exists():
                    if process.returncode is not None:
                        raise RuntimeError(f"{program} has ended with the status {process.returncode}")
                    await anyio.sleep(0.02)
            yield f"unix://{socket}"
        finally:
            process.terminate()
