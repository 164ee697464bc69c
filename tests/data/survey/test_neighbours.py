import numpy as np

from pipeline.data.survey.neighbours import nearest


def test_the_nearest_are_those_of_the_whole_matrix():
    chance = np.random.default_rng(0)
    among, asked = chance.normal(size=(300, 8)), chance.normal(size=(270, 8))
    places, cosines = nearest(among, asked, count=3)
    one, other = (values - among.mean(axis=0) for values in (asked, among))
    alike = (one @ other.T) / np.linalg.norm(one, axis=1)[:, None] / np.linalg.norm(other, axis=1)
    np.testing.assert_array_equal(places, np.argsort(-alike, axis=1)[:, :3])
    np.testing.assert_allclose(cosines, -np.sort(-alike, axis=1)[:, :3], atol=1e-5)


def test_no_picture_is_its_own_neighbour():
    values = np.random.default_rng(0).normal(size=(300, 8))
    places, _ = nearest(values, count=2)
    assert not (places == np.arange(300)[:, None]).any()
