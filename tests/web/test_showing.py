"""A typed answer as a page draws it."""

from dataclasses import dataclass

import pandas as pd
import pytest

from pipeline.serving.answers import Answer
from pipeline.serving.taxon import Taxon
from pipeline.web.showing import Named, drawn, how_sure, meant


@dataclass(frozen=True)
class Later(Answer):
    """An answer of which a later version says more."""

    season: tuple[str, ...] = ()


def test_each_field_that_says_something_has_its_place():
    answer = Answer((("owl", 0.6), ("wren", 0.4)), {"genus": "Strix"}, ("owl", "wren"), answered=False)
    assert [name for name, _, _ in drawn(answer, "first")] == ["answered"]
    assert [name for name, _, _ in drawn(answer, "main")] == ["top_k", "prediction_set"]
    assert [name for name, _, _ in drawn(answer, "more")] == ["taxonomy"]
    assert [name for place in ("first", "main", "more") for name, _, _ in drawn(Answer((("owl", 1.0),)), place)] == [
        "top_k"
    ]


def test_how_deep_an_answer_is_sure_and_what_a_list_changed_have_their_place():
    taxon = Taxon("the genus is sure", "Strix", "genus", 0.97, (("genus", "Strix"),))
    answer = Answer((("owl", 0.6),), taxon=taxon, elsewhere=("wren", 0.9), unknown=True)
    assert [(name, value) for name, _, value in drawn(answer, "first")] == [("unknown", True), ("taxon", taxon)]
    assert [name for name, _, _ in drawn(answer, "main")] == ["top_k", "elsewhere"]


def test_a_field_that_is_added_appears_by_being_declared():
    (made,) = drawn(Later((("owl", 1.0),), season=("spring",)), "more")
    assert made == ("season", "answer/other.html.j2", ("spring",))


@pytest.mark.parametrize(
    ("share", "answered", "unknown", "word"),
    [(0.97, None, None, "almost_certain"), (0.95, True, False, "almost_certain"), (0.8, None, None, "very_likely"),
     (0.5, None, None, "likely"), (0.49, None, None, "not_sure"), (0.97, False, None, "not_sure"),
     (0.97, None, True, "not_sure")],
)  # fmt: skip
def test_how_sure_in_words(share, answered, unknown, word):
    assert how_sure(Answer((("owl", share),), answered=answered, unknown=unknown)) == word


@pytest.mark.parametrize(
    ("text", "label"),
    [("wren", "wren"), ("WREN", "wren"), ("Strix aluco", "owl"), ("cárabo", "owl"), ("Aves", "Aves"),
     ("Strix", "Strix"), ("bird", "bird"), ("stork", "stork")],
)  # fmt: skip
def test_a_class_is_known_by_what_it_is_called_and_not_by_what_it_belongs_to(text, label):
    taxonomy = pd.DataFrame(
        {"class": ["Aves"] * 2, "genus": ["Strix", None], "species": ["Strix aluco", None],
         "common_name": ["bird", "bird"], "common_name_es": ["Cárabo", None]}, index=["owl", "wren"],
    )  # fmt: skip
    assert meant(text, taxonomy, ["owl", "wren"]) == label
    assert meant("Owl", None, ["owl", "wren"]) == "owl"


def test_names_in_the_readers_language_and_where_to_look_them_up():
    owl = Named.of("owl", {"species": "Strix aluco", "common_name": "Tawny Owl", "common_name_es": "Cárabo común"})
    assert (owl.in_language("es"), owl.in_language("en"), owl.second("en")) == (
        "Cárabo común",
        "Tawny Owl",
        "Strix aluco",
    )
    assert owl.links("es")["Wikipedia"] == "https://es.wikipedia.org/wiki/Special:Search?search=Strix%20aluco"
    plain = Named.of("005.Crested_Auklet", {})
    assert (plain.in_language("es"), plain.second("es")) == ("005.Crested_Auklet", "")
    assert plain.links("en")["GBIF"] == "https://www.gbif.org/species/search?q=Crested%20Auklet"
    strange = Named.of('"><script>&x=1', {}).links("en")
    assert all(not {"<", '"', " "} & set(address) and "&x" not in address for address in strange.values())
