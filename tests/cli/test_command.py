"""The frame around the commands, tried as a user types: real processes, their exit codes and what they print."""

import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.cli.messages import check
from pipeline.cli.quoting import open_tags, quote_path
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
        ("trainer.epochs=0", "trainer.epochs=0: should be greater than or equal to 1"),
        ("seed=99999999999999999999", "seed=99999999999999999999: should be less than 9223372036854775808"),
        ("hydra.run.dir=/dev/null/x", "error: /dev/null/x: Not a directory: Hydra cannot write its own files"),
        ("trainer.epochs=many", "trainer.epochs=many: should be a valid integer"),
        ("model.name=resnet18", "say which library's network it is"),
        ("data=folder", "data.root is missing: give it as data.root=..."),
        ("tracking.tags.stage=sweep", "stage is a tag that the program sets itself"),
        ("trainer.epochs=true", "trainer.epochs=True: should be a number"),
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
def test_any_path_arrives_as_typed(path):
    assert parsed(quote_path(f"data.root={path}")) == path


def test_only_paths_are_quoted():
    for argument in (
        "model=resnet18,resnet50",
        "trainer.epochs=3",
        "-m",
        "data.root='a b'",
        "data.root=null",
    ):
        assert quote_path(argument) == argument


def test_in_a_sweep_a_comma_separates_unless_the_folder_exists(tmp_path):
    assert quote_path("data.root=/a,/b", multirun=True) == "data.root=/a,/b"
    odd = tmp_path / "one, two"
    odd.mkdir()
    assert parsed(quote_path(f"data.root={odd}", multirun=True)) == str(odd)


def composed(*arguments):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return check(compose("train", list(map(open_tags, arguments))), "train")


@pytest.mark.parametrize(
    "typed",
    ["tracking.tags={a: b}", "tracking.tags={a:b}", "+tracking.tags.a=b", "tracking.tags.a=b", "++tracking.tags.a=b"],
)
def test_tags_are_free(typed):
    assert composed(typed).tracking.tags == {"a": "b"}


def test_tags_are_text_and_other_keys_closed():
    assert composed("tracking.tags={n: 1, yes: true}", "tracking.tags.x=0.5").tracking.tags == {
        "n": "1", "yes": "true", "x": "0.5",
    }  # fmt: skip
    for other in ("tracking.run_name=tags", "tracking.tagged.a=b", "data.tags={a: b}"):
        assert open_tags(other) == other
