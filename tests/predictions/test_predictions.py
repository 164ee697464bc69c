import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax, logsumexp

from pipeline.common.errors import BadInput
from pipeline.predictions.builder import PredictionsBuilder
from pipeline.predictions.parquet import read_predictions, write_predictions

SIZES = {"pictures": st.integers(1, 40), "classes": st.integers(12, 60), "seed": st.integers(0, 999)}


def same(one, other):
    assert one.classes == other.classes
    for name in ("ids", "labels", "logits", "columns"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert (one.rest is None) == (other.rest is None)
    if one.rest is not None:
        assert one.rest.count == other.rest.count
        np.testing.assert_array_equal(one.rest.logsumexp, other.rest.logsumexp)
        np.testing.assert_array_equal(one.rest.mean, other.rest.mean)


def test_dense_keeps_every_logit(make_predictions):
    predictions = make_predictions(pictures=10, classes=5)
    assert not predictions.is_sparse
    assert predictions.logits.shape == (10, 5)
    np.testing.assert_allclose(predictions.log_probabilities(), log_softmax(predictions.logits, axis=1), atol=1e-6)
    np.testing.assert_allclose(predictions.probabilities().sum(axis=1), 1.0)


@settings(max_examples=30, deadline=None)
@given(**SIZES)
def test_sparse_is_exact_where_it_says_so(make_predictions, pictures, classes, seed):
    dense = make_predictions(pictures, classes, seed=seed)
    sparse = make_predictions(pictures, classes, seed=seed, dense_classes=10, largest=6)
    assert sparse.is_sparse
    assert sparse.logits.shape == (pictures, 7)
    assert (np.diff(sparse.logits, axis=1) <= 0).all()
    np.testing.assert_array_equal(sparse.predicted, dense.predicted)
    np.testing.assert_array_equal(np.minimum(dense.true_rank(), 6), sparse.true_rank())
    np.testing.assert_allclose(sparse.true_log_probability, dense.true_log_probability, atol=1e-5)
    np.testing.assert_allclose(sparse.confidence, dense.confidence, atol=1e-6)


def test_a_sparse_rest_is_close_at_other_temperatures(make_predictions):
    dense = make_predictions(50, 2_000, dense_classes=9_999, signal=6)
    sparse = make_predictions(50, 2_000, signal=6)
    for temperature in (0.5, 0.8, 1.5, 3.0):
        exact = logsumexp(dense.logits / temperature, axis=1)
        np.testing.assert_allclose(sparse.at_temperature(temperature).log_normaliser, exact, atol=0.1)


@pytest.mark.parametrize("options", [{}, {"dense_classes": 10, "largest": 6}])
def test_what_is_written_is_read(make_predictions, tmp_path, options):
    predictions = make_predictions(30, 40, **options)
    path = tmp_path / "pré dictions" / "val, (1).parquet"
    write_predictions(predictions, path)
    same(read_predictions(path), predictions)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_builder_takes_tensors_of_any_float_type():
    builder = PredictionsBuilder(["a", "b"])
    builder.add(["x", "y"], torch.tensor([0, 1]), torch.tensor([[2.0, 1.0], [0.0, 1.0]], dtype=torch.bfloat16))
    predictions = builder.finish()
    assert predictions.logits.dtype == np.float32
    np.testing.assert_array_equal(predictions.predicted, [0, 1])
    np.testing.assert_array_equal(predictions.correct, [True, True])


def test_a_choice_of_pictures(make_predictions):
    predictions = make_predictions(30, 40, dense_classes=10, largest=6)
    chosen = predictions.take(np.array([3, 7]))
    assert list(chosen.ids) == ["3.jpg", "7.jpg"]
    np.testing.assert_allclose(chosen.confidence, predictions.confidence[[3, 7]])


def test_bad_files_are_named(make_predictions, tmp_path):
    read = read_predictions
    with pytest.raises(BadInput, match=r"gone\.parquet is missing"):
        read(tmp_path / "gone.parquet")
    write_predictions(make_predictions(), tmp_path / "cut.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "cut.parquet").read_bytes()[:-100])
    (tmp_path / "text.parquet").write_text("no parquet")
    for name in ("cut.parquet", "text.parquet"):
        with pytest.raises(BadInput, match=f"{name} is no whole Parquet file"):
            read(tmp_path / name)
    pq.write_table(pa.table({"id": ["x"]}), tmp_path / "other.parquet")
    with pytest.raises(BadInput, match="format_version None"):
        read(tmp_path / "other.parquet")


@pytest.mark.parametrize("dense_classes", [1_000, 2])
def test_nothing_predicted_is_empty_and_cannot_be_scored(dense_classes):
    predictions = PredictionsBuilder(["a", "b", "c"], dense_classes=dense_classes).finish()
    assert (len(predictions), len(predictions.predicted)) == (0, 0)
    with pytest.raises(BadInput, match="no picture"):
        predictions.check_usable()


def test_a_builder_keeps_its_own_copy():
    builder, batch = PredictionsBuilder(["a", "b"]), np.array([[1.0, 0.0]], dtype=np.float32)
    builder.add(["x"], np.array([0]), batch)
    batch[:] = 9.0
    np.testing.assert_array_equal(builder.finish().logits, [[1.0, 0.0]])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers(make_predictions, value):
    predictions = make_predictions()
    predictions.logits[7, 1] = value
    with pytest.raises(BadInput, match=r"member m1 hold NaN .* 1 of 60 pictures \(first: 7.jpg\)"):
        predictions.check_usable("member m1")


def test_shapes_that_do_not_fit():
    builder = PredictionsBuilder(["a", "b"])
    with pytest.raises(ValueError, match=r"shape \(1, 3\) for 1 ids, 2 classes"):
        builder.add(["x"], np.array([0]), np.zeros((1, 3)))
    builder.add(["x"], np.array([2]), np.zeros((1, 2)))
    with pytest.raises(ValueError, match="codes from 0 to 1"):
        builder.finish()
