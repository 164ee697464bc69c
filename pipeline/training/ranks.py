"""Several processes, each with a device, that train one network: the first drives, the others do what it asks.

They are started by the first one, by torchrun, or by SLURM. The first opens a store (torch's, over TCP) by which they
find each other and in which the others say what stopped them; what is to be done, and with what, goes to all of them
through the process group: gloo for processors and for objects, NCCL between GPUs.
"""

import json
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from time import monotonic, sleep
from typing import Any, Self

import psutil
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # public, but without the export that types want
from torch.distributed.distributed_c10d import PrefixStore

from pipeline.common.errors import BadInput, Stopped
from pipeline.common.interruption import Interrupted, heed, take_no_more
from pipeline.common.processes import rank_given
from pipeline.config import schema

JOIN_WITHIN = 300.0  # seconds for all to come
_LOST_WITHIN = 5.0  # seconds in which it is known why a process was lost
_LOOK = 0.02  # seconds between looks into the store
_INTERFACE = "GLOO_SOCKET_IFNAME"
_LOST = re.compile(r"gloo|NCCL|by peer|Broken pipe")

log = logging.getLogger("pipeline.train")


@dataclass(frozen=True)
class Place:
    """Which of `world` processes this is, which of the `devices` of its machine it has, and where the first listens."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    devices: int = 1
    address: str = "127.0.0.1"
    port: int = 0

    @property
    def nodes(self) -> int:
        """How many machines there are."""
        return self.world // self.devices


def place_of(trainer: schema.Trainer) -> Place:
    """The place that torchrun or SLURM gave this process; else it is the first of those that it is to start.

    BadInput where that is not what was asked for.
    """
    devices, nodes = trainer.devices, trainer.nodes
    if rank_given() is None:
        if nodes > 1:
            raise BadInput(
                f"trainer.nodes={nodes}: on each machine type torchrun --nnodes {nodes} --nproc-per-node {devices} "
                "--rdzv-backend c10d --rdzv-endpoint FIRST_MACHINE:29500 -m pipeline.train ..., or have srun do it"
            )
        return Place(world=devices, devices=devices)
    by_torchrun = TorchElasticEnvironment.detect()
    try:
        given: Any = TorchElasticEnvironment() if by_torchrun else SLURMEnvironment()
    except RuntimeError as error:  # of what srun was told
        raise BadInput(str(error).splitlines()[0]) from None
    world, machines = given.world_size(), int(os.environ.get("SLURM_NNODES", "1"))
    here = int(os.environ["LOCAL_WORLD_SIZE"]) if by_torchrun else max(world // machines, 1)
    if devices not in (1, here) or nodes not in (1, world // here) or world % here:
        raise BadInput(
            f"trainer.devices={devices} trainer.nodes={nodes}, but {'torchrun' if by_torchrun else 'srun'} started "
            f"{world} processes, {here} of them here: leave the keys out, or have them say the same"
        )
    return Place(given.global_rank(), world, given.local_rank(), here, given.main_address, given.main_port)


class Ranks:
    """The processes, seen from this one. As a context it ends those that it started, whatever happens."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._started: list[subprocess.Popen[bytes]] = []
        self._told = 0
        self.fabric: Fabric  # over all of them, once they are connected
        agents = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" and rank_given() is not None
        try:
            store = TCPStore(
                place.address, place.port, place.world, is_master=place.rank == 0 and not agents,
                wait_for_workers=False, timeout=timedelta(seconds=JOIN_WITHIN),
            )  # fmt: skip
        except RuntimeError as error:
            where = f"{place.address}:{place.port}"
            if place.rank == 0 and not agents:
                raise BadInput(f"the processes cannot meet at {where} ({error}): set MASTER_PORT to another") from None
            raise Stopped(f"nobody listens at {where}, where the first of {place.world} processes should") from None
        self.port = store.port
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if agents else "0"
        self._store = PrefixStore(f"pipeline/{attempt}", store)

    @property
    def share(self) -> tuple[int, int]:
        """Of each batch."""
        return self.place.rank, self.place.world

    def __enter__(self) -> Self:
        """Before others read how many threads there are; in the end there are as many as before."""
        self._threads = torch.get_num_threads()
        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(self._threads // self.place.devices, 1))
        if rank_given() == 0:
            self._wait_for_all()  # before any work
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.place.rank == 0:
            with suppress(RuntimeError):
                self._store.set("over", "")
        for process in self._started:
            if kind is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(10)
            process.kill()
            process.wait()
        if distributed.is_initialized():
            distributed.destroy_process_group()
        torch.set_num_threads(self._threads)

    def start(self, module: str) -> None:
        """Start the others, as `python -m module` with their place, unless somebody else has."""
        for rank in range(1, self.place.world) if rank_given() is None else ():
            place = Place(rank, self.place.world, rank, self.place.world, port=self.port)
            command = [sys.executable, "-m", module, json.dumps(asdict(place))]
            self._started.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))

    def _wait_for_all(self) -> None:
        """Until every process has come. Stopped where one does not within the time, or has died."""
        until = monotonic() + JOIN_WITHIN
        while missing := [rank for rank in range(1, self.place.world) if not self._store.check([f"here/{rank}"])]:
            self._look_for_the_dead()
            if monotonic() > until:
                raise Stopped(
                    f"{len(missing)} of {self.place.world} processes did not come within {JOIN_WITHIN:.0f} s (rank "
                    f"{missing[0]} first): were they started, and do they reach {self.place.address}:{self.port}?"
                )
            sleep(_LOOK)

    def come(self) -> None:
        """Be there, and wait for the first process to be ready. Any but the first says this."""
        several = self.place.nodes > 1
        self._store.set(f"here/{self.place.rank}", _own_address(self.place.address) if several else "")
        if not self._wait_for("device"):
            raise SystemExit(0)
        device, precision = self._store.get("device").decode().split()
        self._connect(device, precision)

    def connect(self, fabric: Fabric) -> None:
        """Make all of them a group whose devices and precision are like this one's. The first says this."""
        self._wait_for_all()
        device, precision = fabric.device.type, fabric._precision.precision
        self._store.set("device", f"{device} {precision}")
        self._connect(device, precision)

    def _connect(self, device: str, precision: Any) -> None:
        place, backend = self.place, "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
        if device == "cuda":
            torch.cuda.set_device(place.local_rank)
        if place.nodes > 1 and _INTERFACE not in os.environ:  # else gloo takes that of the machine's name: often lo
            abroad = self._store.get(f"here/{place.devices}").decode() if place.rank < place.devices else place.address
            os.environ[_INTERFACE] = _interface_of(_own_address(abroad))
        try:
            distributed.init_process_group(backend, store=self._store, rank=place.rank, world_size=place.world)
        except RuntimeError as error:
            log.debug("%s", error)
            raise Stopped(
                f"the {place.world} processes found the first one, but do not reach each other: on each machine set "
                f"{_INTERFACE} to its network between them (ip addr lists them; tried: {os.environ.get(_INTERFACE)})"
            ) from None
        strategy = _Joined(cluster_environment=_Known(place), forward_sync_buffers=False, gradient_as_bucket_view=True)
        self.fabric = Fabric(
            accelerator=device, devices=place.devices, num_nodes=place.nodes, strategy=strategy, precision=precision
        )
        self.fabric.launch()

    def tell(self, what: Any) -> None:
        """Hand something to all others, who wait for it in `heard`."""
        self._told += 1
        self._store.set(f"told/{self._told}", "")
        distributed.broadcast_object_list([what])

    def heard(self) -> Any:
        """What the first process tells next; None when all is over."""
        self._told += 1
        if not self._wait_for(f"told/{self._told}"):
            return None
        found = [None]
        distributed.broadcast_object_list(found)
        return found[0]

    def gathered(self, own: Any) -> list[Any]:
        """What each process brings, in their order, for the first; nothing for the others."""
        found = [None] * self.place.world if self.place.rank == 0 else None
        distributed.gather_object(own, found)
        return found or []

    def _wait_for(self, key: str) -> bool:
        while not self._store.check([key]):
            heed()
            if self._store.check(["over"]):
                return False
            sleep(_LOOK)
        return True

    def fail(self, error: Exception) -> None:
        """Say what stopped this process, for the first one to tell; what others say after it does not count."""
        with suppress(RuntimeError):
            if isinstance(error, BadInput | Stopped):
                said = f"{'BadInput' if isinstance(error, BadInput) else 'Stopped'} {error}"
            else:
                said = f"Stopped process {self.place.rank + 1} of {self.place.world}: {type(error).__name__}: {error}"
            self._store.compare_set("failed", "", said)

    @contextmanager
    def lost_in_one_line(self) -> Iterator[None]:
        """Turn the many ways in which a lost process shows itself into what stopped it, or that it died."""
        try:
            yield
        except (RuntimeError, Interrupted) as error:  # torchrun asks all to end when one has
            if isinstance(error, Stopped) or not (is_lost(error) or (rank_given() == 0 and self._has_failed())):
                raise
            if rank_given() is not None:
                take_no_more()  # torchrun ends all others for it, which is not the cause
            until = monotonic() + _LOST_WITHIN
            while monotonic() < until:
                if self._has_failed():
                    kind, _, said = self._store.get("failed").decode().partition(" ")
                    raise (BadInput if kind == "BadInput" else Stopped)(said) from None
                self._look_for_the_dead()
                sleep(_LOOK)
            log.debug("%s", error)
            raise Stopped(
                f"one of the {self.place.world} processes was lost: what it said stands above, or in its own log (if "
                "nothing, was memory too small?)"
            ) from None

    def _has_failed(self) -> bool:
        try:
            return bool(self._store.check(["failed"]))
        except RuntimeError:  # the store went first
            return False

    def _look_for_the_dead(self) -> None:
        for rank, process in enumerate(self._started, start=1):
            code = process.poll()
            if code is not None and not self._has_failed():
                how = (
                    f"signal {-code}; was memory too small?" if code < 0 else f"exit code {code}; what it said is above"
                )
                raise Stopped(f"process {rank + 1} of {self.place.world} ended before its time ({how})")


def _own_address(host: str) -> str:
    """By which this machine is seen from a host."""
    kind, *_, address = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
    with socket.socket(kind, socket.SOCK_DGRAM) as asked:
        asked.connect(address)  # which sends nothing
        return str(asked.getsockname()[0])


def _interface_of(address: str) -> str:
    known = psutil.net_if_addrs().items()
    return next(name for name, has in known if any(one.address.partition("%")[0] == address for one in has))


def is_lost(error: BaseException) -> bool:
    """Whether an error is of the connection between processes."""
    return isinstance(error, distributed.DistError) or bool(_LOST.search(str(error)))


class _Known(LightningEnvironment):
    """Fabric's view of a place: it starts no process."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place

    def local_rank(self) -> int:
        return self._place.local_rank

    def node_rank(self) -> int:
        return self._place.rank // self._place.devices


class _Joined(DDPStrategy):
    """DDP among processes that are there already."""

    def _configure_launcher(self) -> None:
        """None."""
