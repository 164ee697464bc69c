import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from PIL import Image

from pipeline.cli.command import for_hydra
from pipeline.cli.composed import composed
from pipeline.common.errors import BadInput
from pipeline.experiment.build import read_pictures
from pipeline.web.jobs.form import FIELDS, PICTURES, Wrong, arguments, checked, defaults
from pipeline.web.words import LANGUAGES, known

GRAMMAR = "\\'\"${}[]()=,:;+~ \n\t\0ab.0/-"
TEXTS = st.text(GRAMMAR, max_size=30) | st.text(max_size=30) | st.sampled_from(
    ["null", "true", "1", "1e3", "[a,b]", "{a: b}", "'x'", '"x"', "${oc.env:HOME}", "\\${x}", "a'b",
     "x' hydra.run.dir=/tmp 'y", "range(1,3)", "glob(*)", "choice(a,b)", "a,b", "~seed", "???", "\\", "\\'", "'", "//",
     "models:/x@y", "*", "_target_"]
)  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A named folder with names that Hydra's grammar would stumble over."""
    root = tmp_path_factory.mktemp("disk") / "photos, of (mine)"
    (root / "sub='1' ${x}").mkdir(parents=True)
    (root / "labels.csv").write_text("path,label\n")
    (root / "weights.pkl").write_bytes(b"")
    (root.parent / "secret.csv").write_text("")
    (root / "link.csv").symlink_to(root.parent / "secret.csv")
    return {"photos": root}


def as_hydra_takes(line):
    """The key and the value of an argument, as the command would have them."""
    [argument] = for_hydra("train", [line], multirun=False)
    parsed = OverridesParser.create().parse_override(argument)
    assert not parsed.is_sweep_override()
    assert parsed.type.name == "CHANGE"
    node = OmegaConf.create({"x": None})
    OmegaConf.update(node, "x", parsed.value())
    return parsed.key_or_group, OmegaConf.to_container(node, resolve=True)["x"]


def said(field, text, folders):
    """The line, or why there is none."""
    try:
        return [one for one in arguments({"data": "digits", field.key: text}, folders) if one != "data=digits"]
    except Wrong as error:
        return str(error)


@given(st.sampled_from([field for field in FIELDS.values() if field.kind in ("text", "names")]), TEXTS)
@example(FIELDS["data.from_path"], "\"'")
@example(FIELDS["data.from_path"], "' hydra.run.dir=/tmp '")
def test_a_text_is_refused_or_arrives_as_it_is(folders, field, text):
    line = said(field, text, folders)
    if isinstance(line, str):  # a refusal
        assert line.startswith(f"{field.key}: ")
        assert len(line.splitlines()) == 1
    elif field.kind == "names":
        wanted = [name.strip() for name in text.split(",") if name.strip()]
        assert [as_hydra_takes(one) for one in line] == ([(field.key, wanted)] if wanted else [])
    else:
        assert [as_hydra_takes(one) for one in line] == ([(field.key, text)] if text.strip() else [])


@given(st.sampled_from([field for field in FIELDS.values() if field.kind not in ("text", "names")]), TEXTS)
def test_other_fields_take_what_they_are_for_or_say_so(folders, field, text):
    line = said(field, text, folders)
    for one in [] if isinstance(line, str) else line:
        key, value = as_hydra_takes(one)
        assert key == field.key
        if field.kind == "choice":
            assert value in field.choices()
        elif isinstance(value, int | float):
            assert field.least <= value <= field.most
        else:
            assert value in field.answers


OTHERS = [
    "hydra.run.dir", "hydra/launcher", "tracking.experiment", "tracking.tags.x", "++tracking", "+x", "~seed", "data@x",
    "data.name", "data.split.save", "head.options", "model.name", "experiment", "resume", "estimate",
]  # fmt: skip


@given(st.text(max_size=40) | st.sampled_from(OTHERS), TEXTS)
def test_no_other_key_can_be_set(folders, key, text):
    if key not in FIELDS:
        with pytest.raises(Wrong, match="cannot be set here"):
            arguments({"data": "digits", key: text}, folders)


def test_paths_are_of_the_named_folders(folders):
    root = folders["photos"]
    given_ = {"data": "folder", "data.root": "photos/sub='1' ${x}"}
    assert as_hydra_takes(arguments(given_, folders)[1]) == ("data.root", str(root / "sub='1' ${x}"))
    for given_ in ({"data.root": "photos/.."}, {"data.root": "/etc"}, {"data.root": "photos/labels.csv"},
                  {"data.file": "photos/link.csv"}, {"data.file": "photos/../secret.csv"},
                  {"data.file": "photos/none.csv"},
                  {"model.weights_file": "photos/weights.pkl"}, {"model.weights_file": "runs:/abc/model"}):  # fmt: skip
        with pytest.raises(Wrong, match=r"there is no|is no folder|is no file"):
            arguments({"data": "folder"} | given_, folders)


def test_a_text_is_no_longer_for_being_in_parts(folders):
    with pytest.raises(Wrong, match=r"data\.metadata: a text of at most 500 letters"):
        arguments({"data": "digits", "data.metadata": ["depth"] * 200}, folders)


def test_what_is_given_is_a_training(folders):
    given_ = {"data": "folder", "data.root": "photos", "regime": "frozen", "optimizer.lr": "0,01", "trainer.epochs": 3,
              "data.metadata": "a, b c", "data.image_size": "auto", "seed": ""}  # fmt: skip
    config = composed("train", checked("train", arguments(given_, folders)))
    assert config.data.root == str(folders["photos"])
    assert (config.regime.name, config.optimizer.lr, config.trainer.epochs) == ("frozen", 0.01, 3)
    assert (config.data.metadata, config.data.image_size, config.seed) == (["a", "b c"], "auto", 0)
    composed("explore", arguments({"data": "folder", "data.root": "photos"}, folders, PICTURES))


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"data": "folder"}, "data.root is missing"),
        ({"data": "digits", "data.label_depth": 2}, "data.label_depth does not belong to the data chosen"),
        ({"data": "digits", "data.split.val": 0.9, "data.file": ""}, None),
        ({"trainer.epochs": 3}, "data: say which kind of data set it is"),
        ({"data": "digits", "trainer.epochs": "0"}, "trainer.epochs: it should be from 1 to 1000"),
        ({"data": "digits", "trainer.epochs": "1.5"}, "a whole number from 1 to 1000 is wanted"),
        ({"data": "digits", "trainer.epochs": True}, "one line is wanted"),
        ({"data": "digits", "model": "resnet19"}, "did you mean resnet18?"),
        ({"data": "digits", "traner.epochs": 1}, "did you mean trainer.epochs?"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_started(folders, given_, said):
    if said is None:
        checked("train", arguments(given_, folders))
        return
    with pytest.raises(BadInput) as told:
        checked("train", arguments(given_, folders))
    assert said in str(told.value)


def test_defaults_are_those_of_the_choices(folders):
    of_digits = defaults({}, folders)
    assert (of_digits["data"], of_digits["regime"], of_digits["data.image_size"]) == ("digits", "scratch", "32")
    of_photographs = defaults({"data": "folder", "regime": "frozen", "optimizer": "sgd", "data.root": "none"}, folders)
    assert (of_photographs["data.image_size"], of_photographs["optimizer.lr"]) == ("224", "0.1")
    for source in FIELDS["data"].choices():
        assert defaults({"data": source}, folders)["data"] == source


def test_each_field_has_words():
    for key in FIELDS:
        assert set(known()[f"train.field.{key}"]) == set(LANGUAGES)


@pytest.mark.parametrize("titles", ["path,label", "picture,label,corrected,checked"])
@pytest.mark.parametrize("begin", ["../", "{top}/", "photos/../../"])
def test_no_table_leads_out_of_its_folder(tmp_path, titles, begin):
    for name in ("secret/a.jpg", "secret/b.jpg", "photos/c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    rows = [f"{begin.format(top=tmp_path)}secret/{name}.jpg,{name}" for name in "ab"]
    more = ",,yes" if "checked" in titles else ""
    (tmp_path / "photos" / "t.csv").write_text("\n".join([titles, *(row + more for row in rows)]))
    typed = arguments({"data": "table", "data.file": "photos/t.csv"}, {"photos": tmp_path / "photos"})
    with pytest.raises(BadInput, match=r"outside data\.root"):
        read_pictures(composed("train", typed).data, "raise")
