from pipeline.web.jobs.curves import HEIGHT, WIDTH, curve


def test_a_curve_leaves_room_for_the_epochs_to_come():
    drawn = curve({"train": [(1, 0.5), (2, 0.25)], "val": [(1, 0.75)]}, 10, percent=True)
    first, second = (tuple(map(float, point.split(","))) for point in drawn.lines["train"].split())
    assert first[0] == drawn.left
    assert second[0] - first[0] < WIDTH / 9
    assert second[1] > first[1]  # lower
    assert all(0 <= y <= HEIGHT for y, _ in drawn.down)
    assert "60 %" in [words for _, words in drawn.down]


def test_what_cannot_be_drawn_is_left_out():
    assert curve({"train": [], "val": []}, 10) is None
    assert curve({"train": [(1, float("nan"))]}, 10) is None
    assert curve({"train": [(1, 0.5), (2, float("inf"))]}, 2).lines["train"].count(",") == 1
