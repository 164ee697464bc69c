"""The frame around the commands, tried as a user types: real processes, their exit codes and what they print."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.cli.command import VERSION_BASE
from pipeline.cli.messages import check
from pipeline.cli.quoting import as_typed, open_mappings, quote_path
from pipeline.common.errors import BadInput
from pipeline.config.keys import CONF

ROOT = Path(__file__).parents[2]


def train(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "pipeline.train", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_command_ends_with_all_that_was_promised_for_its_end(tmp_path):
    code = (
        "import atexit, sys, threading, time; sys.argv = ['train']\n"
        "from pipeline.cli.command import command\n"
        "atexit.register(print, 'promised')\n"
        "def late(): time.sleep(0.3); print('other thread')\n"
        "def recipe(config): print('recipe'); threading.Thread(target=late).start()\n"
        "main = command('train', '__main__:recipe')\n"
        "main()\n"
        "print('not reached')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["recipe", "other thread", "promised"]


def test_what_a_job_returns_is_what_sweepers_search_by_and_a_failed_one_returns_nothing(tmp_path):
    code = (
        "import sys; sys.argv = ['train', '-m', 'seed=3,4,5', '~hydra.callbacks.sweep']\n"
        "from hydra._internal.hydra import Hydra\n"
        "from pipeline.cli.command import command\n"
        "from pipeline.common.errors import Stopped\n"
        "multirun = Hydra.multirun\n"
        "def told(*given, **named):\n"
        "    batches = multirun(*given, **named)\n"
        "    print([job.return_value for batch in batches for job in batch])\n"
        "Hydra.multirun = told\n"
        "def recipe(config):\n"
        "    if config.seed == 4: raise Stopped('no number')\n"
        "    return config.seed / 10\n"
        "main = command('train', '__main__:recipe')\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "[0.3, None, 0.5]" in done.stdout
    assert done.returncode == 1
    assert "error: no number" in done.stderr


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("trainer.epoch=3", "unknown key trainer.epoch; did you mean trainer.epochs?"),
        ("+typo=1", "unknown key typo"),
        ("+optimizer.lrr=1", "unknown key optimizer.lrr; did you mean optimizer.lr?"),
        ("model=resnet51", "model=resnet51: no such choice; did you mean resnet50?"),
        (
            "experiment=shelf",
            "error: experiment=shelf is a sweep over model: type it with -m, python -m pipeline.train -m",
        ),
        ("model=nosuch", "model=nosuch: no such choice; it can be one of alexnet, bioclip2, convnextv2t"),
        ("trainer.epochs=0", "trainer.epochs=0: should be greater than or equal to 1"),
        ("seed=99999999999999999999", "seed=99999999999999999999: should be less than 9223372036854775808"),
        ("hydra.run.dir=/dev/null/x", "error: /dev/null/x: Not a directory: Hydra cannot write its own files"),
        ("trainer.epochs=many", "trainer.epochs=many: should be a valid integer"),
        ("model.name=resnet18", "say which library's network it is"),
        ("data=folder", "data.root is missing: give it as data.root=..."),
        ("experiment=birds", "data.root is missing: give it as data.root=..."),
        ("tracking.tags.stage=sweep", "stage is a tag that the program sets itself"),
        ("regime.trains=last", "regime.trains=last: should be all, head, or last:2"),
        ("data.image_size=big", "data.image_size=big: should be a number of pixels, 1 or more, or auto"),
        ("data.image_size=0", "data.image_size=0: should be a number of pixels, 1 or more, or auto"),
        ("trainer.epochs=true", "trainer.epochs=True: should be a number"),
        ("optimizer.name=sgdd", "optimizer.name=sgdd: should be one of 'sgd', 'adam', 'adamw'"),
        ("scheduler.name=cosin", "scheduler.name=cosin: no such scheduler; did you mean cosine?"),
        ("+regime.lr.sdg=0.1", "no such optimizer; did you mean sgd?"),
        ("+loss.gamma=2", "loss.gamma=2: should be None"),
        ("head.hidden=[1000000000000]", "should be less than"),
        ("trainer.threads=100000", "should be less than or equal to 1024"),
        ("trainer.epochs=[1", "no viable alternative"),
    ],
)
def test_bad_input_is_one_line_exit_code_2_and_leaves_nothing(argument, said, tmp_path):
    done = train(argument, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize(
    ("command", "argument", "said"),
    [
        (
            "compare",
            "model=x",
            "unknown key model: it belongs to train and predict and explain and",
        ),
        (
            "promote",
            "trainer.epochs=3",
            "unknown key trainer.epochs: it belongs to train",
        ),
        ("train", "data.lists=a.txt", "data.lists does not belong to the data chosen (--cfg job shows what does)"),
        ("compare", "runn=x", "unknown key runn; did you mean runs?"),
    ],
)
def test_a_key_of_another_command_or_choice_is_said_to_be_that(command, argument, said, typed, capsys):
    assert typed(command, argument) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("head", "number", "said"),
    [("logistic", "head.C=-1", "should be greater than 0"), ("knn", "head.k=0", "should be greater than or equal")],
)
def test_of_a_number_or_auto_a_wrong_number_is_told_as_one(head, number, said, typed, capsys):
    assert typed("train", f"head={head}", number) == 2
    assert f"{number}: {said}" in capsys.readouterr().err


def test_the_next_command_clears_what_a_killed_one_left_and_nothing_of_a_living_one(tmp_path, typed, monkeypatch):
    code = "from pipeline.cli.command import _own_folder; import time; print(_own_folder(), flush=True); time.sleep(99)"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    environment.pop("PIPELINE_OWN_FOLDER", None)
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    killed, living = [Path(one.stdout.readline().strip()) for one in started]
    try:
        started[0].kill()
        started[0].wait()
        assert killed.is_dir()
        assert living.is_dir()
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        assert typed("compare", "runn=x") == 2
        assert not killed.exists()
        assert living.is_dir()
    finally:
        started[1].kill()
        for one in started:
            one.communicate()


def test_a_config_is_composed_and_shown_without_the_slow_imports(tmp_path):
    code = (
        "import atexit, sys; sys.argv = ['train', '--cfg', 'job']\n"
        "atexit.register(lambda: print(sorted({'torch', 'mlflow', 'pandas', 'numpy'} & set(sys.modules))))\n"
        "import runpy\n"
        "runpy.run_module('pipeline.train', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "torchvision/resnet18" in done.stdout
    assert done.stdout.strip().endswith("[]")


def parsed(argument):
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    override = OverridesParser.create().parse_override(argument)
    return OmegaConf.create({"path": override.value()})["path"]


PATHS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(
    lambda text: text[0] not in "'\"" and text != "null"
)


@given(PATHS)
@example("~/Imágenes/photos (1), a=b")
@example("C:\\fotos\\")
@example("it's {here} [and] ${there}")
@example("a\\\\${there}")
def test_any_path_arrives_as_typed(path):
    assert parsed(quote_path(f"data.root={path}")) == path
    assert as_typed(quote_path(f"data.root={path}")) == f"data.root={path}"


def test_only_paths_are_quoted():
    for argument in (
        "model=resnet18,resnet50",
        "trainer.epochs=3",
        "-m",
        "data.root='a b'",
        "data.root=null",
    ):
        assert quote_path(argument) == argument
    assert as_typed("model='resnet18'") == "model='resnet18'"


def test_in_a_sweep_a_comma_separates_unless_the_folder_exists(tmp_path):
    assert quote_path("data.root=/a,/b", multirun=True) == "data.root=/a,/b"
    odd = tmp_path / "one, two"
    odd.mkdir()
    assert parsed(quote_path(f"data.root={odd}", multirun=True)) == str(odd)


def composed(*arguments):
    with initialize_config_dir(str(CONF), **VERSION_BASE):
        return check(compose("train", list(map(open_mappings, arguments))), "train")


@pytest.mark.parametrize(
    "typed",
    ["tracking.tags={a: b}", "tracking.tags={a:b}", "+tracking.tags.a=b", "tracking.tags.a=b", "++tracking.tags.a=b"],
)
def test_tags_are_free(typed):
    assert composed(typed).tracking.tags == {"a": "b"}


def test_the_options_of_a_classifier_are_free_too():
    given = ("head=sklearn", "head.estimator=SVC", "head.options={C: 10}", "head.options.gamma=0.5")
    assert composed(*given).head.options == {"C": 10, "gamma": 0.5}


def test_tags_are_text_and_other_keys_closed():
    assert composed("tracking.tags={n: 1, yes: true}", "tracking.tags.x=0.5").tracking.tags == {
        "n": "1", "yes": "true", "x": "0.5",
    }  # fmt: skip
    for other in ("tracking.run_name=tags", "tracking.tagged.a=b", "data.tags={a: b}"):
        assert open_mappings(other) == other


@pytest.mark.parametrize(
    ("weights", "said"),
    [("[1,0]", "loss.class_weights.1=0: should be greater than 0"), ("{a: -1}", "loss.class_weights.a=-1"),
     ("abc", "loss.class_weights=abc: should be 'balanced'")],
)  # fmt: skip
def test_of_a_key_that_takes_several_kinds_the_kind_that_was_given_is_told_of(weights, said):
    with initialize_config_dir(str(CONF), **VERSION_BASE), pytest.raises(BadInput) as told:
        check(compose("train", ["loss=weighted", f"loss.class_weights={weights}"]), "train")
    assert str(told.value).startswith(said)
