from copy import deepcopy

import numpy as np
import pytest
import torch

from pipeline.common.errors import Stopped
from pipeline.data.batch import Inputs
from pipeline.data.reading.preprocessing import Preprocessing
from pipeline.models.classifier import Classifier, NetworkSpec
from pipeline.training.feature_files import FeatureFiles, FeatureRows
from pipeline.training.features import FeatureBatches, Features, Way, compute_features, features_of
from pipeline.training.hardware import make_fabric
from pipeline.training.loop import Batch

SIDE, ROWS = 32, np.array([3, 5, 8, 9, 12])
LABELS = np.array([0, 1, 0, 1, 1])
PICTURES = torch.randint(0, 256, (len(ROWS), 3, SIDE, SIDE), dtype=torch.uint8)


class Pictures:
    """Batches of some rows, without the pictures `lost`; notes which rows were read."""

    def __init__(self, lost=()):
        self.lost, self.asked = lost, []

    def __call__(self, rows):
        self.asked.append(rows.tolist())
        self.kept = [place for place in range(len(ROWS)) if ROWS[place] in rows and place not in self.lost]
        return self

    def __len__(self):
        return 2

    def set_epoch(self, epoch):
        pass

    def __iter__(self):
        for some in filter(None, (self.kept[:3], self.kept[3:])):
            yield Batch(Inputs(PICTURES[some]), torch.from_numpy(LABELS[some]), torch.from_numpy(ROWS[some]))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Classifier(NetworkSpec("torchvision/squeezenet1_0", 2, Preprocessing(image_size=SIDE))).eval()


def read(network, pictures, folder, chosen=slice(None)):
    return features_of(
        [Way("how", network, pictures)], FeatureFiles(folder), pictures=ROWS[chosen].astype("<u8"), rows=ROWS[chosen],
        labels=LABELS[chosen], fabric=make_fabric("cpu", "fp32"),
    )  # fmt: skip


def test_features_are_what_the_backbone_says_and_are_asked_for_once(network, tmp_path):
    pictures = Pictures()
    found = read(network, pictures, tmp_path)
    again = read(network, pictures, tmp_path)
    assert pictures.asked == [ROWS.tolist()]
    with torch.no_grad():
        expected = network.features(Inputs(PICTURES)).numpy()
    for features in (found, again):
        np.testing.assert_allclose(features.values.read(), expected, rtol=2e-3, atol=2e-3)
        np.testing.assert_array_equal(features.rows, ROWS)
        np.testing.assert_array_equal(features.labels, LABELS)


def test_the_head_on_features_answers_as_the_whole_network(network, tmp_path):
    found = read(network, Pictures(), tmp_path)
    batch = next(iter(FeatureBatches([found], batch_size=9)))
    with torch.no_grad():
        torch.testing.assert_close(network(batch.inputs), network(Inputs(PICTURES)), rtol=5e-3, atol=5e-3)


def test_pictures_that_could_not_be_read_are_left_out(network, tmp_path):
    for _ in range(2):  # as computed, and as kept
        found = read(network, Pictures(lost=(1, 4)), tmp_path)
        np.testing.assert_array_equal(found.rows, ROWS[[0, 2, 3]])
        np.testing.assert_array_equal(found.labels, LABELS[[0, 2, 3]])
        assert np.isfinite(found.values.read()).all()


def test_a_split_of_other_pictures_asks_for_the_new_ones_alone(network, tmp_path):
    pictures = Pictures()
    read(network, pictures, tmp_path, slice(1, 3))
    found = read(network, pictures, tmp_path)
    assert pictures.asked == [ROWS[1:3].tolist(), ROWS[[0, 3, 4]].tolist()]
    with torch.no_grad():
        np.testing.assert_allclose(
            found.values.read(), network.features(Inputs(PICTURES)).numpy(), rtol=2e-3, atol=2e-3
        )


def test_where_no_picture_can_be_read_none_is_left(network, tmp_path):
    for _ in range(2):
        found = read(network, Pictures(lost=range(len(ROWS))), tmp_path)
        assert len(found.values) == len(found.labels) == len(found.rows) == 0


def numbered(start=0):
    count = 7
    values = np.arange(start, start + count)[:, None].astype(np.float16)
    rows = FeatureRows((values,), np.zeros(count, int), np.arange(count))
    return Features(rows, np.zeros(count, int), np.arange(count))


def orders(batches, epochs):
    read = []
    for epoch in epochs:
        batches.set_epoch(epoch)
        read.append(torch.cat([batch.inputs.features[:, 0] for batch in batches]).tolist())
    return read


def test_the_order_depends_on_seed_and_epoch_alone():
    first = orders(FeatureBatches([numbered()], batch_size=3, shuffle=True, seed=1), (1, 2))
    again = orders(FeatureBatches([numbered()], batch_size=3, shuffle=True, seed=1), (1, 2))
    other = orders(FeatureBatches([numbered()], batch_size=3, shuffle=True, seed=2), (1, 2))
    assert first == again
    assert first != other
    assert first[0] != first[1]
    assert sorted(first[0]) == list(range(7))


def test_what_is_no_number_is_not_taken_for_a_picture_that_cannot_be_read(network, tmp_path):
    broken = deepcopy(network)
    broken.mean[:] = torch.inf
    with pytest.raises(Stopped, match=r"no numbers, or too large: try trainer\.precision=fp32"):
        read(broken, Pictures(), tmp_path)
    assert not list(tmp_path.rglob("*.npy"))


def test_each_epoch_reads_the_next_view():
    views = FeatureBatches([numbered(0), numbered(100)], batch_size=3)
    assert [order[0] for order in orders(views, (1, 2, 3))] == [0, 100, 0]
    assert len(views) == 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_features_made_on_a_gpu_are_nearly_those_of_a_processor(precision, network):
    fabric = make_fabric("cuda", precision)
    found = compute_features(deepcopy(network), Pictures()(ROWS), rows=ROWS, fabric=fabric).astype(float)
    with torch.no_grad():
        expected = network.features(Inputs(PICTURES)).numpy()
    assert np.linalg.norm(found - expected) < 0.02 * np.linalg.norm(expected)
