"""Pareto fronts."""

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """The points that no other one beats: none has more y for as little x, or as much y for less x.

    Args:
        points: ``(cost, merit)``.

    Returns:
        Their positions, by growing cost; of equal points the first.
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1], i))
    front: list[int] = []
    for i in order:
        if not front or points[i][1] > points[front[-1]][1]:
            front.append(i)
    return front
