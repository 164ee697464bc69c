"""What attributes are worth: python bench/concepts.py ROOT WEIGHTS   (CUB-200-2011, mobilenet_v2, frozen, three splits)

1. Accuracy and attribute AUC on test, the class following from attributes alone.
2. Attributes held out by species: learnt on four fifths of them, asked of test's pictures of the others, never seen.
   Mean AUC beside that of shuffled rows (each species taught another's attributes), and the species of these pictures
   by the nearest row of attributes, beside chance. Intervals: species drawn anew.
3. Wrong answers put right: so many attributes, asked for by `Concepts.ask_first`, which does not know the label, are
   answered as the table has them for the true species, with its shares or with yes and no, or (shuffled) for another.
4. How far reasons agree with what is known, `head.agreement` off and on, and with what is known of another species
   (shuffled rows), which has to be less: differences by picture, species drawn anew.
5. `head.residual=true`: accuracy, the direct path's share of decisions, and how many are others without it.
"""

import sys
from typing import Any

import numpy as np
import pandas as pd
import torch
from hydra import compose, initialize_config_dir

from pipeline.cli.command import VERSION_BASE
from pipeline.cli.messages import check
from pipeline.config.keys import CONF
from pipeline.evaluation.agreement import Agreement, mean_by_class
from pipeline.evaluation.attributes import mean_auc
from pipeline.experiment.build import Prepared
from pipeline.experiment.stages import features
from pipeline.experiment.training import prepare
from pipeline.models.heads.concepts import Concepts

ASKED = (0, 1, 3, 5, 10, 20)
PUNISHED = 1.0  # chosen on val, of 0.3, 1, 2 and 4: the most agreement within a point of accuracy
HELD_OUT = 20  # species


def main(root: str, weights: str) -> None:
    """Three splits of train and val; test stays the published one."""
    for seed in range(3):
        with initialize_config_dir(str(CONF), **VERSION_BASE):
            config = check(
                compose("train", [
                    "data=cub200", f"data.root={root}", "data.attributes=class", "model=mobilenetv2", "regime=frozen",
                    f"model.weights_file={weights}", "head=concepts", f"data.split.seed={seed}",
                    "trainer.num_workers=0",
                ]),
                "train",
            )  # fmt: skip
        prepared = prepare(config)
        made = {split: features(config, prepared, split, None) for split in ("train", "val", "test")}
        pictures = {
            split: (torch.tensor(one.values.read()).float(), torch.as_tensor(one.labels)) for split, one in made.items()
        }
        report(seed, prepared, pictures)


def report(seed: int, prepared: Prepared, pictures: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
    """All three, of one split."""
    head = prepared.network.head
    assert isinstance(head, Concepts)
    known, (seen, labels) = head.signatures.clone(), pictures["test"]
    head.fit(*pictures["train"])
    head.calibrate(*pictures["val"])
    concepts = head.concepts(seen)
    right = head.of_concepts(concepts).argmax(1) == labels
    figure = mean_auc(concepts.numpy(), known.numpy(), labels.numpy())
    print(
        f"split {seed}: accuracy {100 * right.float().mean():.1f} % of {len(labels):,}; attribute AUC {figure}",
        flush=True,
    )
    chance = np.random.default_rng(seed)
    shuffled = torch.from_numpy(chance.permutation(len(known)))
    yes_or_no = torch.where(known >= 0.5, known.amax(0), known.amin(0))  # as `Concepts.concepts` takes them
    every = torch.zeros_like(right)  # of right answers too, which wrong corrections can spoil
    for name, rows, left in (
        ("corrected", known, right), ("by yes and no", yes_or_no, right),
        ("from shuffled rows", known[shuffled], right),
        ("corrected, of every answer", known, every), ("from shuffled rows, of every answer", known[shuffled], every),
    ):  # fmt: skip
        curve = [100 * float(corrected(head, concepts, left, labels, rows, n).float().mean()) for n in ASKED]
        print(f"  {name}: " + ", ".join(f"{n}: {one:.1f} %" for n, one in zip(ASKED, curve, strict=True)), flush=True)
    agreement_and_direct_path(head, known, pictures)
    new = torch.from_numpy(chance.permutation(len(known))[:HELD_OUT].copy())
    old = torch.tensor([one for one in range(len(known)) if one not in set(new.tolist())])
    for name, rows in (
        ("species never seen", old),
        ("the same, from shuffled rows", old[chance.permutation(len(old))]),
    ):
        print(f"  {name}: {never_seen(head, known, pictures, new, old, rows)}", flush=True)


@torch.no_grad()
def agreement_and_direct_path(
    head: Concepts, known: torch.Tensor, pictures: dict[str, tuple[torch.Tensor, torch.Tensor]]
) -> None:
    """What each option does, beside the head without it."""
    seen, labels = pictures["test"]

    def fitted(**options: Any) -> Concepts:
        made = Concepts(
            seen.shape[1], len(known), C=head.species.inverse_penalty, attributes=head.attributes, **options
        )  # fmt: skip
        made.meet_attributes(pd.DataFrame(known.numpy()))
        made.fit(*pictures["train"])
        made.calibrate(*pictures["val"])
        return made

    def of(one: Concepts, shuffled: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        concepts, answered = one.concepts(seen), one(seen).argmax(1)
        added, _ = one.contributions(concepts, answered)
        whose = (
            torch.from_numpy(np.random.default_rng(0).permutation(len(known))) if shuffled else torch.arange(len(known))
        )
        found = Agreement.of(added.detach().numpy(), concepts.numpy(), one.knowledge[whose[answered]].numpy())
        return (answered == labels).numpy().astype(float), found.share, found.edits.astype(float)

    punished = fitted(agreement=PUNISHED)
    off, on = of(head), of(punished)
    for name, one, own in (("not punished", head, off), ("punished", punished, on)):
        for what, mine, others in zip(("agreement", "edit distance"), own[1:], of(one, shuffled=True)[1:], strict=True):
            mean, (value, low, high) = (
                mean_by_class(others, labels.numpy())[0],
                mean_by_class(mine - others, labels.numpy()),
            )
            print(
                f"  {name}, {what} with shuffled rows: {mean:.3f}; own less: {value:+.3f} [{low:+.3f}, {high:+.3f}]",
                flush=True,
            )  # fmt: skip
    for name, before, after in zip(("accuracy", "agreement", "edit distance"), off, on, strict=True):
        means = [f"{mean_by_class(one, labels.numpy())[0]:.3f}" for one in (before, after)]
        value, low, high = mean_by_class(after - before, labels.numpy())
        print(
            f"  punished {PUNISHED:g}, {name}: {' -> '.join(means)}, {value:+.3f} [{low:+.3f}, {high:+.3f}]", flush=True
        )
    beside = fitted(residual=True)
    right = float((beside(seen).argmax(1) == labels).float().mean())
    share, changed = beside.decided_directly(beside.concepts(seen), beside.direct(seen))
    print(
        f"  direct path: accuracy {100 * right:.1f} %, share of decisions {100 * float(share.mean()):.1f} %, other "
        f"answers without it {100 * float(changed.float().mean()):.1f} %", flush=True,
    )  # fmt: skip


def corrected(
    head: Concepts, concepts: torch.Tensor, left: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor, asked: int
) -> torch.Tensor:
    """(n,) bool: who is right when so many attributes are put right of each answer that is not `left` (n,) as it is."""
    now, truth = concepts[~left].clone(), head.standardised(rows)[labels[~left]]
    done = torch.zeros_like(now, dtype=torch.bool)
    for _ in range(asked):
        first = head.ask_first(now).masked_fill(done, -1).argmax(1, keepdim=True)
        now, done = now.scatter(1, first, truth.gather(1, first)), done.scatter(1, first, value=True)
    found = left.clone()
    found[~left] = head.of_concepts(now).argmax(1) == labels[~left]
    return found


def never_seen(
    head: Concepts, known: torch.Tensor, pictures: dict[str, tuple[torch.Tensor, torch.Tensor]], new: torch.Tensor,
    old: torch.Tensor, rows: torch.Tensor,
) -> str:  # fmt: skip
    """Attributes, and the nearest of the new species, of test's pictures of them; learnt of the old as `rows` say."""
    seen, labels = pictures["train"]
    some = torch.isin(labels, old)
    other = Concepts(seen.shape[1], len(known), C=1.0, attributes=head.attributes)
    taught = known.clone()
    taught[old] = known[rows]
    other.meet_attributes(pd.DataFrame(taught.numpy()))
    other.fit(seen[some], labels[some])
    asked, truth = pictures["test"]
    here = torch.isin(truth, new)
    concepts, truth = other.concepts(asked[here]), truth[here]
    figure = mean_auc(concepts.numpy(), known.numpy(), truth.numpy())
    nearest = new[torch.cdist(concepts, other.standardised(known[new])).argmin(1)]
    share = 100 * float((nearest == truth).float().mean())
    return (
        f"attribute AUC {figure}; nearest of {len(new)}: {share:.1f} % of {len(truth)} (chance {100 / len(new):.0f} %)"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
