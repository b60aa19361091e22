"""Sends the cells of a notebook to a kernel of its own, in this process; several threads may do so side by side."""

import asyncio
import contextlib
import logging
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.provisioning import LocalProvisioner
from jupyter_client.utils import ensure_async
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert.preprocessors.coalescestreams import CoalesceStreamsPreprocessor
from nbformat import NotebookNode
from papermill import execute_notebook
from papermill.engines import Engine, NotebookExecutionManager, papermill_engines
from papermill.exceptions import PapermillExecutionError
from traitlets import Any

from bnlib.commands.kernels.warm import Warm


class Provisioner(LocalProvisioner):
    """Has `Warm` start the kernel."""

    warm = Any()

    async def launch_kernel(self, cmd: list[str], *, env: dict[str, str], cwd: Path, **_: object) -> dict:
        """Called by the manager when it is chosen where the kernel listens."""
        self.process = self.warm.kernel(self.parent.connection_file, cwd, env)
        self.pid = self.pgid = self.process.pid  # it leads a group of its own, with its workers
        return self.connection_info

    @property
    def has_workers(self) -> bool:
        """Whether the kernel has processes of its own."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return bool(psutil.Process(self.pid).children())
        return False


class Manager(AsyncKernelManager):
    """A manager that looks up no kernel: whatever is registered as `python3`, this interpreter is meant."""

    kernel_spec = KernelSpec(language="python")


class Warmed(Engine):
    """The engine by which papermill has the cells of a notebook run here."""

    name = "warmed"

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: NotebookExecutionManager, kernel_name: str, task: Callable[[NotebookNode], None], **_: object
    ) -> None:
        """Called by papermill, which has put the parameters into the notebook; `task` runs its cells."""
        task(nb_man.nb)


papermill_engines.register(Warmed.name, Warmed)


def execute(
    notebook: NotebookNode, parameters: dict, warm: Warm, folder: Path, variables: dict[str, str], place: Path
) -> tuple[NotebookNode, str | None]:
    """Has papermill run a notebook until a cell fails; returns it with its outputs, and why the run failed, if it did.

    Args:
        parameters: what papermill writes into a cell behind that of the defaults.
        warm: starts the kernel.
        folder: where the notebook runs.
        variables: environment variables of its kernel alone.
        place: a folder for the file that says where the kernel listens.
    """
    for name in ("asyncio", "traitlets", "papermill"):  # what they have to say of a failed run is returned
        logging.getLogger(name).setLevel(logging.CRITICAL)
    ran: list = []

    def task(prepared: NotebookNode) -> None:
        ran.extend((prepared, _problem(prepared, warm, folder, variables, place)))

    by = {"engine_name": Warmed.name, "kernel_name": "python3", "language": "python", "progress_bar": False, "task": task}
    with contextlib.suppress(PapermillExecutionError):  # the notebook says it too
        execute_notebook(notebook, None, parameters, **by)
    return ran[0], ran[1]


def _sockets(name: str) -> dict[str, str]:
    """Where a manager and its kernel meet: on Linux at sockets of names that nobody else has, and of no file.

    A port is chosen as free, let go and taken by the kernel a moment later: whatever else opens one meanwhile may have it then.
    """
    return {"transport": "ipc", "ip": f"@bnlib-{name}"} if sys.platform == "linux" else {}


def _problem(notebook: NotebookNode, warm: Warm, folder: Path, variables: dict[str, str], place: Path) -> str | None:
    """Runs the cells of a notebook in a kernel of its own; returns why the run failed, if it did."""
    name = secrets.token_hex(8)
    manager = Manager(connection_file=str(place / f"kernel-{name}.json"), **_sockets(name))
    manager.provisioner = Provisioner(parent=manager, kernel_spec=manager.kernel_spec, warm=warm)
    try:
        asyncio.run(_run(notebook, manager, folder, variables))
    except CellExecutionError as error:
        return f"{error.ename}: {error.evalue}"
    except (RuntimeError, OSError) as error:  # a kernel that died, or one that cannot start
        return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return None


async def _run(notebook: NotebookNode, manager: Manager, folder: Path, variables: dict[str, str]) -> None:
    client = NotebookClient(notebook, km=manager, record_timing=False, store_widget_state=False)
    # Not by its `async_setup_kernel`: that takes over the signals, and leaves an exit handler of a kernel that never started.
    try:
        await client.async_start_new_kernel(cwd=folder, env=variables)
        await client.async_start_new_kernel_client()
        for index, cell in enumerate(notebook.cells):
            await client.async_execute_cell(cell, index)
            CoalesceStreamsPreprocessor().preprocess_cell(cell, {}, index)  # else in pieces as they came, at random
        reply = await client.async_wait_for_reply(await ensure_async(client.kc.kernel_info()))
        notebook.metadata["language_info"] = reply["content"]["language_info"]
    finally:
        if await manager.is_alive():
            # Where it has workers they end first, which takes it its time.
            await manager.shutdown_kernel(now=not manager.provisioner.has_workers)
        else:
            await manager.cleanup_resources()
        if client.kc:
            client.kc.stop_channels()
