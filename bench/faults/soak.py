"""Many clients for a long time: does a server stay as large as it was, and never fail?

    python bench/faults/soak.py --minutes 30 --clients 8             `mlflow models serve`
    python bench/faults/soak.py --minutes 30 --clients 8 --own       `python -m pipeline.app`

Requests of `hostile.py`, half of them good, again and again in an order by chance, from all clients at once. The memory
of the server with all its children (each page counted where it is shared, too: resident) is read every five seconds.
After a warm-up, a tenth of the time and at least a minute, its median over another tenth is what the last tenth is
compared with. Ends with 1 where that grew by over 5 %, or where a request failed on the server's side or had no answer,
but for those that MLflow's own server fails on, which are not sent.
"""

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from threading import Event, Thread
from time import monotonic

import psutil
import requests
from hostile import Request, complaint, drawn, good_of_mlflow, good_to_own, of_mlflow_itself, send, to_mlflow, to_own
from served import make_model, of_mlflow, own

KINDS = 300  # requests that are sent again and again, good ones and any
MOST = 0.05  # of growth
_BETWEEN = 5.0  # seconds between looks at the memory


def resident(process: int) -> float:
    """MB of a process and all below it."""
    one = psutil.Process(process)
    total = 0
    for each in (one, *one.children(recursive=True)):
        try:
            total += each.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 2**20


def ask_on(address: str, asked: Sequence[Request], number: int, over: Event, counts: Counter[str]) -> None:
    """One client, until it is over."""
    chance = random.Random(number)
    with requests.Session() as session:
        while not over.is_set():
            request = chance.choice(asked)
            reply = send(session, address, request)
            wrong = complaint(request, reply)
            if wrong and of_mlflow_itself(request, reply) is None:
                print(f"{wrong}: {reply.status} {reply.text[:300]}", flush=True)
                counts["wrong"] += 1
            counts[f"status {reply.status // 100}xx" if reply.status else "no answer"] += 1


def soak(
    address: str, process: int, asked: Sequence[Request], clients: int, seconds: float
) -> tuple[list[float], Counter[str]]:
    """Ask for so long; MB over time, and how many answers there were of each kind."""
    over, counts, seen = Event(), [Counter[str]() for _ in range(clients)], list[float]()
    threads = [Thread(target=ask_on, args=(address, asked, number, over, counts[number])) for number in range(clients)]
    for thread in threads:
        thread.start()
    end = monotonic() + seconds
    while monotonic() < end and not over.wait(_BETWEEN):
        seen.append(resident(process))
    over.set()
    for thread in threads:
        thread.join()
    return seen, sum(counts, Counter[str]())


def growth(seen: Sequence[float]) -> tuple[float, float]:
    """MB after the warm-up and at the end."""
    tenth = max(1, len(seen) // 10)
    warm = max(tenth, int(60 / _BETWEEN))
    return median(seen[warm : warm + tenth]), median(seen[-tenth:])


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--own", action="store_true", help="ask this program's own server")
    parser.add_argument("--folder", type=Path, default=None, help="where the model lies, or is made")
    given = parser.parse_args()
    folder = (given.folder or Path(tempfile.mkdtemp(prefix="soak-"))).resolve()
    make_model(folder)
    good, every = (good_to_own, to_own) if given.own else (good_of_mlflow, to_mlflow)
    with (own if given.own else of_mlflow)(folder) as server:
        with requests.Session() as session:
            fails = [one for one in drawn(every, KINDS) if send(session, server.address, one).status < 500]
        asked = drawn(good, KINDS) + fails
        seen, counts = soak(server.address, server.process, asked, given.clients, 60 * given.minutes)
    for name, number in sorted(counts.items()):
        print(f"{number:8,} {name}")
    first, last = growth(seen)
    grown = 100 * (last / first - 1)
    print(f"{first:,.0f} MB after the warm-up, {last:,.0f} at the end ({grown:+.1f} %; at most {max(seen):,.0f})")
    print("MB, minute by minute:", " ".join(f"{one:,.0f}" for one in seen[:: int(60 / _BETWEEN)]))
    failed = counts["status 5xx"] + counts["no answer"] + counts["wrong"]
    sys.exit(1 if failed or last > (1 + MOST) * first else 0)


if __name__ == "__main__":
    main()
