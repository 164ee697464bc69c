"""Class names found in lists of taxa as they are published."""

import pytest

from pipeline.common.errors import BadInput
from pipeline.data.checklist.matching import match, table_of
from pipeline.data.checklist.reading import Checklist, read_checklist

DARWIN_CORE = """\
taxonID\tparentNameUsageID\tacceptedNameUsageID\tscientificName\tcanonicalName\ttaxonRank\ttaxonomicStatus\tkingdom\tgenus
1\t\t\tConus Linnaeus, 1758\tConus\tgenus\taccepted\tAnimalia\tConus
2\t1\t\tConus marmoreus Linnaeus, 1758\tConus marmoreus\tspecies\taccepted\tAnimalia\tConus
3\t\t2\tConus nocturnus [Lightfoot], 1786\tConus nocturnus\tspecies\tsynonym\tAnimalia\tConus
4\t\t\tConus textile Linnaeus, 1758\tConus textile\tspecies\taccepted\tAnimalia\tConus
5\t\t\tOenanthe Vieillot, 1816\tOenanthe\tgenus\taccepted\tAnimalia\tOenanthe
6\t\t\tOenanthe L.\tOenanthe\tgenus\taccepted\tPlantae\tOenanthe
7\t\t\tLarus fuscus Linnaeus, 1758\tLarus fuscus\tspecies\taccepted\tAnimalia\tLarus
8\t\t\tSpheniscus mendiculus Sundevall, 1871\tSpheniscus mendiculus\tspecies\taccepted\tAnimalia\tSpheniscus
"""
COMMON = """\
taxonID\tvernacularName\tlanguage
2\tMarbled Cone\ten
4\tCloth-of-Gold Cone\ten
7\tLesser Black-backed Gull\ten
8\tGalápagos Penguin\ten
2\tCone Shell\ten
4\tCone Shell\ten
"""


@pytest.fixture(scope="module")
def checklist(tmp_path_factory: pytest.TempPathFactory) -> Checklist:
    folder = tmp_path_factory.mktemp("dwc")
    (folder / "Taxon.tsv").write_text(DARWIN_CORE, encoding="utf-8")
    (folder / "VernacularName.tsv").write_text(COMMON, encoding="utf-8")
    return read_checklist([str(folder / "Taxon.tsv"), str(folder / "VernacularName.tsv")])


@pytest.mark.parametrize(
    ("label", "status", "found"),
    [
        ("Conus marmoreus", "matched", ["Conus marmoreus"]),
        ("conus_marmoreus", "matched", ["Conus marmoreus"]),
        ("Conus_marmoreus_Linnaeus_1758", "matched", ["Conus marmoreus"]),
        ("012.Conus (Conus) marmoreus Linnaeus, 1758", "matched", ["Conus marmoreus"]),
        ("Conus_sp.", "matched", ["Conus"]),
        ("Conus nocturnus", "synonym", ["Conus marmoreus"]),
        ("Lesser_black_backed_gull", "matched", ["Larus fuscus"]),
        ("Galapagos Penguin", "matched", ["Spheniscus mendiculus"]),
        ("Oenanthe", "homonym", ["Oenanthe", "Oenanthe"]),
        ("Conus marmorus", "doubtful", ["Conus marmoreus"]),  # misspelt
        ("Marbeld Cone", "doubtful", ["Conus marmoreus"]),
        ("Conus cf. textile", "doubtful", ["Conus textile"]),
        ("Larus fuscus graellsii", "doubtful", ["Larus fuscus"]),  # a subspecies that the list has not
        ("Cone Shell", "doubtful", ["Conus marmoreus", "Conus textile"]),
        ("Black-backed Gull", "doubtful", ["Larus fuscus"]),
        ("Herring Gull", "unmatched", []),
        ("7", "unmatched", []),
    ],
)
def test_what_a_class_is(label: str, status: str, found: list[str], checklist: Checklist) -> None:
    said = match(label, checklist)
    assert (said.status, [taxon.name for taxon in said.taxa]) == (status, found)
    assert all(taxon.how for taxon in said.taxa)


def test_the_table_has_the_taxonomy_of_what_is_accepted_and_what_to_look_at_first(checklist: Checklist) -> None:
    table = table_of([match(label, checklist) for label in ("Conus nocturnus", "Nothing", "Oenanthe")])
    assert table["label"].tolist() == ["Oenanthe", "Oenanthe", "Nothing", "Conus nocturnus"]
    assert table["kingdom"].tolist()[:2] == ["Animalia", "Plantae"]
    assert table.iloc[-1][["genus", "species", "common_name"]].tolist() == ["Conus", "Conus marmoreus", "Marbled Cone"]


def test_ancestors_are_climbed_by_their_ids(tmp_path) -> None:
    (tmp_path / "taxa.csv").write_text(
        "taxon_id\tancestry\trank_level\trank\tname\tactive\n1\t48460\t70\tkingdom\tAnimalia\tt\n"
        "4\t48460/1\t20\tgenus\tPicus\tt\n9\t48460/1/4\t10\tspecies\tPicus viridis\tt\n",
        encoding="utf-8",
    )
    (taxon,) = match("Picus viridis", read_checklist([str(tmp_path / "taxa.csv")])).taxa
    assert taxon.taxonomy == {"kingdom": "Animalia", "genus": "Picus", "species": "Picus viridis"}


def test_a_genus_that_only_stands_in_a_column(tmp_path) -> None:
    (tmp_path / "categories.csv").write_text(
        "id,kingdom,family,genus,specific_epithet,name,common_name\n"
        "0,Animalia,Cuculidae,Geococcyx,californianus,Geococcyx californianus,Greater Roadrunner\n",
        encoding="utf-8",
    )
    (taxon,) = match("Geococcyx", read_checklist([str(tmp_path / "categories.csv")])).taxa
    assert (taxon.rank, taxon.taxonomy) == (
        "genus", {"kingdom": "Animalia", "family": "Cuculidae", "genus": "Geococcyx"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("genus,species\nConus,textile\n", "one of them must be the list of taxa"),
        ("id,parentNameUsageID,scientificName\n1,2,Aus\n2,1,Bus\n", "a cycle, .* 0 < 1 < 0"),
    ],
)
def test_lists_that_are_none(text: str, says: str, tmp_path) -> None:
    (tmp_path / "odd.csv").write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=says):
        match("Aus", read_checklist([str(tmp_path / "odd.csv")]))
