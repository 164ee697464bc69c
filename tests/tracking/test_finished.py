"""What finished runs left behind, read back."""

import pandas as pd
from stored import CLASSES, finished

from pipeline.tracking.finished import taxonomy_of
from pipeline.tracking.runs import tracked_run


def test_a_vote_has_the_taxonomy_of_its_best_member(store):
    kin = pd.DataFrame({"genus": ["Alca", "Merops", "Grus"]}, index=pd.Index(CLASSES))
    member = finished(taxonomy=kin)
    with tracked_run("birds", name=None, tags={"stage": "ensemble", "best_member": member}, params={}) as vote:
        pass
    known = taxonomy_of(store.get_run(vote.id))
    assert known is not None
    assert known["genus"].to_dict() == kin["genus"].to_dict()
    with tracked_run("birds", name=None, tags={"stage": "ensemble", "best_member": "0" * 32}, params={}) as orphan:
        pass
    assert taxonomy_of(store.get_run(orphan.id)) is None
