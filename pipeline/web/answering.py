"""The one thread that asks networks: visitors take turns at it, a few pictures at a time."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TypeVar

import pandas as pd

from pipeline.serving.answers import Answer, Wanted, answer_group, answers, digest
from pipeline.serving.asking import reasons_of, seen_in
from pipeline.serving.bundle import Bundle
from pipeline.serving.seen import Seen, all_of

_TURN = 4  # pictures: whoever comes meanwhile waits for these
_PAUSE = 0.05  # seconds between looks whether the thread is idle
Made = TypeVar("Made")


class Answering:
    """Asks in turns: a thread takes what was given first, and everybody gives it one turn's pictures at a time."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="answers")
        self._waiting = 0

    def close(self) -> None:
        """End when the turn under way is over."""
        self._thread.shutdown(cancel_futures=True)

    async def answers(
        self, bundle: Bundle, pictures: Sequence[bytes], wanted: Wanted, facts: pd.DataFrame, *, together: bool
    ) -> tuple[list[Answer], Seen]:
        """An answer a picture, or one of all of them `together`, and what was seen in each; `facts` has a row a
        picture. As `serving.answers`.
        """
        found = []
        self._waiting += 1
        try:
            for start in range(0, len(pictures), _TURN):
                some = slice(start, start + _TURN)
                rows = facts.iloc[some].reset_index(drop=True)
                found.append(await self.turn(partial(seen_in, bundle, pictures[some], facts=rows)))
        finally:
            self._waiting -= 1
        seen, digests = all_of(found), [digest(picture) for picture in pictures]
        if together:
            said = [answer_group(bundle, seen, "".join(digests), wanted)]
        else:
            said = answers(bundle, seen, digests, wanted)
        if wanted.explain:  # of one specimen's pictures the first is looked at
            for place, one in enumerate(said):
                own = facts.iloc[place : place + 1].reset_index(drop=True)
                why = await self.turn(partial(reasons_of, bundle, pictures[place], one.label, own))
                said[place] = replace(one, reasons=why)
        return said, seen

    async def aside(self, do: Callable[[], Made]) -> Made:
        """Something short that nobody waits for, in the same thread, when no visitor does."""
        while self._waiting:
            await asyncio.sleep(_PAUSE)
        return await self.turn(do)

    async def turn(self, do: Callable[[], Made]) -> Made:
        """Something short, as soon as it is its turn."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, do)
