"""Find classes in a list of taxa:   python -m pipeline.taxonomy data=folder data.root=~/photos checklist=Taxon.tsv"""

from __future__ import annotations

import logging
from collections import Counter

from pipeline.cli.output import check_output
from pipeline.common.atomic import write_atomically
from pipeline.common.errors import BadInput, Stopped
from pipeline.common.wording import counted
from pipeline.config import schema
from pipeline.data.checklist.gbif import look_up
from pipeline.data.checklist.matching import Match, match, table_of
from pipeline.data.checklist.reading import read_checklist
from pipeline.data.files import write_csv
from pipeline.data.taxonomy import DOUBTFUL, MATCHED, STATUSES, SYNONYM, UNMATCHED
from pipeline.experiment import build
from pipeline.experiment.survey import refusing_nothing
from pipeline.reporting.tables import Table
from pipeline.reporting.terminal import console

log = logging.getLogger("pipeline.taxonomy")
_SHOWN = 20  # rows in the terminal; the CSV has all


def run(config: schema.Taxonomy) -> None:
    """A CSV of what each class is, to look through and to give as `data.taxonomy`."""
    if not config.checklist and not config.online:
        raise BadInput("checklist: name a list of taxa, as in checklist=Taxon.tsv, or ask GBIF with online=true")
    output = check_output(config.output, ".csv", "matches", lambda _: True)
    if output.exists():
        raise BadInput(f"output={config.output} is there, and somebody may have looked through it; name another file")
    data = refusing_nothing(config.data).model_copy(update={"taxonomy": None})
    checklist = read_checklist(config.checklist) if config.checklist else None
    classes = build.all_pictures(data, needs_boxes=False).classes
    found = [Match(one, UNMATCHED) if checklist is None else match(one, checklist) for one in classes]
    if config.online:
        found = asked_online(found, config.gbif)
    table = table_of(found)
    write_atomically(output, lambda path: write_csv(table, path))
    show(found)
    log.info("%s in %s; look through it, then give it as data.taxonomy", counted(len(found), "class"), config.output)


def asked_online(found: list[Match], address: str) -> list[Match]:
    """What the list was not sure of, as GBIF has it where that knows more; all as it was where GBIF does not answer."""
    unsure = [one for one in found if one.status in (DOUBTFUL, UNMATCHED)]
    log.info("asking GBIF for %s", counted(len(unsure), "name"))
    told = dict[str, Match]()
    try:
        for one in unsure:
            said = look_up(one.label, address)
            if said.status != UNMATCHED and (one.status == UNMATCHED or said.status in (MATCHED, SYNONYM)):
                told[one.label] = said
    except Stopped as error:
        log.warning("warning: %s; names not asked for stay as the checklist has them", error)
    return [told.get(one.label, one) for one in found]


def show(found: list[Match]) -> None:
    """How many are how sure, and the first of those that want a look."""
    counts = Counter(one.status for one in found)
    log.info("%s", ", ".join(f"{counts[status]:,} {status}" for status in reversed(STATUSES) if counts[status]))
    table = table_of([one for one in found if one.status not in (MATCHED, SYNONYM)]).head(_SHOWN)
    if len(table):
        heads = ["label", "status", "found", "how", "kingdom", "common_name"]
        Table(heads, table[heads].fillna("").astype(str).to_numpy().tolist(), whole={"status"}).show(console())
