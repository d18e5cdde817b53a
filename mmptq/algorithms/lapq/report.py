"""What a search came to."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SearchReport:
    """What a search came to.

    Args:
        variables: Of the search, 1 for a path.
        evaluations: Of the loss, those of earlier runs of a resumed search included.
        seconds: Likewise.
        start: Loss of the first point.
        best: Least loss.
        held_out: Loss on held-out images at the start, at the best point, and without the moves
            that they did not confirm.
        taken_back: Number of these moves.
    """

    variables: int
    evaluations: int
    seconds: float
    start: float
    best: float
    held_out: tuple[float, float, float] | None = None
    taken_back: int = 0

    def __str__(self) -> str:
        text = (
            f"loss {self.start:.5f} -> {self.best:.5f} in {self.evaluations} evaluations over "
            f"{self.variables} variables, {self.seconds:.0f} s"
        )
        if self.held_out is not None:
            losses = " -> ".join(f"{loss:.5f}" for loss in self.held_out)
            text += f"; on held-out images {losses} after {self.taken_back} moves were taken back"
        return text
