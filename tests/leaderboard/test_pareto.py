import random

from mmptq.leaderboard.pareto import pareto_front


def test_front_by_hand():
    points = [(4.0, 61.0), (1.0, 58.0), (1.0, 48.0), (2.0, 57.0), (3.0, 60.0), (5.0, 61.0)]
    assert pareto_front(points) == [1, 4, 0]
    assert pareto_front([]) == []
    assert pareto_front([(1.0, 1.0), (1.0, 1.0)]) == [0]


def test_front_is_what_no_point_beats():
    generator = random.Random(0)
    for _ in range(50):
        points = [(generator.randrange(8), generator.randrange(8)) for _ in range(20)]
        beaten = {
            p
            for p in points
            for q in points
            if q != p and q[0] <= p[0] and q[1] >= p[1]  # differs, so one is strict
        }
        assert {points[i] for i in pareto_front(points)} == set(points) - beaten
