"""What is known of the keys of a config, each thing in one place: where the answers lie, and what a key is for."""

from pathlib import Path

CONF = Path(__file__).resolve().parents[2] / "conf"

# The groups of `conf/` whose answer a config holds as its section's `name`: `model=resnet50` is `model.name`.
GROUPS = (
    "model", "head", "regime", "augmentation", "metadata", "optimizer", "scheduler", "loss", "trainer", "data",
)  # fmt: skip
# One that came later: runs of before, which had no such choice, are still known as the same as those of its default.
LATER_NAMES = ("metadata.name",)

# What earlier versions called answers to `head`.
RENAMED_HEADS = {"logreg": "logistic"}

# Keys whose value is a path, a filter, a column's name or a password: quoted before Hydra's grammar sees them.
PATH_KEYS = (
    "data.root", "data.file", "data.licence", "data.categories", "data.taxonomy", "data.attributes", "data.lists",
    "data.beside", "data.boxes", "data.from_path", "data.train", "data.val", "data.split.file", "data.split.save",
    "data.split.group", "model.name", "model.weights_file", "head.mapping", "head.rules", "images", "beside",
    "attributes", "boxes", "folders", "corrected", "camtrap_dp", "output", "filter", "neighbours_of", "source",
    "target", "password", "answers.only", "answers.region", "group", "evaluation.group", "checklist", "gbif",
)  # fmt: skip

# Beginnings of keys, from here on. Whatever stands under these, the figures are the same,
SAME_FIGURES = (
    "tracking.", "resume", "estimate", "trainer.num_workers", "trainer.keep_epochs", "trainer.checkpoint_minutes",
    "trainer.time_budget", "trainer.devices", "trainer.nodes", "trainer.engine", "data.split.save", "data.cache",
    "data.licence",
)  # fmt: skip
# and under these it says where things lie, or how fast they go: no choice to compare runs by.
NO_CHOICE = (*SAME_FIGURES, "data.root", "data.box_unit", "trainer.feature_cache_gb", "trainer.threads")
# Those that may be given beside resume=ID.
GIVEN_ANEW = (
    "trainer.num_workers", "trainer.keep_epochs", "trainer.checkpoint_minutes", "trainer.feature_cache_gb",
    "trainer.devices", "trainer.nodes", "trainer.engine", "data.cache", "data.root",
)  # fmt: skip

# Keys that repeat a choice: runs that differ in these alone are one row, with a spread.
SEED, SPLIT, FOLD, BOOTSTRAP = REPEATS = ("seed", "data.split.seed", "data.split.fold", "data.bootstrap")

# Beginnings of overrides that say nothing to a head that is fitted at once.
OF_GRADIENTS = ("optimizer=", "optimizer.", "scheduler=", "scheduler.", "trainer.clip_norm=", "trainer.accumulate=")

# Tags by which the program finds and judges runs: no tag of a user's may stand in for them.
RUNS_OWN_TAGS = frozenset(
    ("stage", "model", "regime", "data", "overrides", "git_sha", "config_digest", "data_digest", "verdict", "error",
     "strategy", "sweep", "jobs", "sweep_digest", "files_digest", "beside_digest", "members", "best_member", "best_run",
     "test_looks", "evaluated_run", "evaluation_key", "source", "split", "runs", "bagging", "refit", "weights",
     "pruned", "confirms", "study")
)  # fmt: skip
