"""The L_p observer against a brute-force search over 100 clips, on one large activation tensor.

Both look for the clip with the least mean ``|Q(x) - x| ** p``. The observer makes one pass over the
tensor and searches its histogram; the brute force quantizes the whole tensor once for each clip.
Errors are those of the real quantizer on the whole tensor at the clips found. The two are timed in
turn within one run, so that other load on the machine hits both.

    python benchmarks/observer_speed.py [--values 10000000] [--threads N]
"""

import torch
from arguments import add_threads, new_parser
from markdown_table import head, row
from timing import timed
from torch import Tensor

from mmptq.observers import LpNormObserver, TensorStatistics
from mmptq.ops import QuantScheme, fake_quantize, range_to_params

CLIPS = 100
HEADER = "values      p bits observer s  brute s  faster    error"


def make_values(kind: str, count: int) -> Tensor:
    """``(count,)`` values of N(0, 1), Laplace(0, 1) or N(0, 1) after ReLU."""
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(count, generator=generator)
    if kind == "laplace":
        uniform = torch.rand(count, generator=generator).sub_(0.5)
        return uniform.sign() * -torch.log1p(-2.0 * uniform.abs().clamp(max=0.4999999))
    return normal.relu_() if kind == "relu" else normal


def true_error(x: Tensor, low: Tensor, high: Tensor, scheme: QuantScheme, p: float) -> float:
    """Mean of ``|Q(x) - x| ** p``, by quantizing all of ``x``."""
    scale, zero_point = range_to_params(low, high, scheme)
    quantized = fake_quantize(x, scale, zero_point, *scheme.bounds)
    return float(quantized.sub_(x).abs_().pow_(p).mean())


def brute_force(x: Tensor, scheme: QuantScheme, p: float) -> float:
    """Least error over ``CLIPS`` equally spaced clips up to the largest magnitude."""
    low, high = torch.aminmax(x)
    bound = torch.maximum(low.abs(), high.abs())
    clips = [bound * i / CLIPS for i in range(1, CLIPS + 1)]
    return min(true_error(x, torch.maximum(low, -c), c, scheme, p) for c in clips)


def observe(x: Tensor, scheme: QuantScheme, p: float) -> tuple[Tensor, Tensor]:
    """One pass and one search: all that the observer needs."""
    stats = TensorStatistics()
    stats.update(x, image=0)
    return LpNormObserver(p).compute_range(stats, scheme)


def update_cost(kind: str, count: int, pieces: int) -> float:
    """Milliseconds of ``TensorStatistics.update`` per million values, in ``pieces`` calls."""
    x = make_values(kind, count)
    stats = TensorStatistics()

    def update() -> None:
        for chunk in x.chunk(pieces):
            stats.update(chunk, image=0)

    return timed(update)[1] * 1e9 / count


def compare(kind: str, x: Tensor, scheme: QuantScheme, p: float) -> tuple[float, ...]:
    """Print one row; return both seconds, their ratio, and the error over the brute one."""
    found, ours_s = timed(lambda: observe(x, scheme, p))
    least, brute_s = timed(lambda: brute_force(x, scheme, p))
    faster, error = brute_s / ours_s, true_error(x, *found, scheme, p) / least
    start = f"{kind:8} {p:4.1f} {scheme.num_bits:4.0f} {ours_s:10.3f} {brute_s:8.2f}"
    print(f"{start} {faster:6.0f}x {error:8.4f}", flush=True)
    return ours_s, brute_s, faster, error


def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--values", type=int, default=10_000_000, help="size of the tensor")
    add_threads(parser, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_grad_enabled(False)

    print(f"{args.values} values, {CLIPS} clips, {args.threads} threads; error: observer / brute")
    print(HEADER)
    results: dict[str, list[tuple[float, ...]]] = {}
    for kind in ("gauss", "laplace", "relu"):
        x = make_values(kind, args.values)
        for p in (2.0, 2.5, 4.0):
            for bits in (8, 4, 2):
                scheme = QuantScheme(bits, symmetric=True, signed=kind != "relu")
                results.setdefault(kind, []).append(compare(kind, x, scheme, p))

    print("\nupdate   values a call  ms per million")
    for kind in ("gauss", "relu"):
        for pieces in (10, 100, 1000):
            cost = update_cost(kind, args.values, pieces)
            print(f"{kind:8} {args.values // pieces:13d} {cost:15.2f}")
    print_ranges(results)


def print_ranges(results: dict[str, list[tuple[float, ...]]]) -> None:
    """Markdown: for each kind of values, least and largest of what :func:`compare` returns."""
    titles = ["values", "observer s", "brute force s", "faster", "error, observer / brute force"]
    print(f"\n{head(titles)}")
    for kind, rows in results.items():
        forms = ("{:.2f}", "{:.1f}", "{:.0f}x", "{:.4f}")
        texts = [
            f"{form.format(min(column))} to {form.format(max(column))}"
            for form, column in zip(forms, zip(*rows, strict=True), strict=True)
        ]
        print(row([kind, *texts]))


if __name__ == "__main__":
    main()
