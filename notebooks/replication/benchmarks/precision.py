"""`make bench`: achieved error and evaluations on the DETEST problems, beside other libraries."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

import torch
import torchdiffeq
from scipy.integrate import solve_ivp
from torch import Tensor

from odenet import Adaptive, Solver, solve
from replication.benchmarks.detest import END, PROBLEMS, Problem

TOLERANCES = (1e-3, 1e-6, 1e-9)
# ours -> the same or the nearest method of torchdiffeq and of SciPy
PEERS = {
    "bosh3": ("bosh3", "RK23"),
    "dopri5": ("dopri5", "RK45"),
    "tsit5": ("dopri5", "RK45"),
    "dopri8": ("dopri8", "DOP853"),
}
End = tuple[Tensor, int]  # the state at t = 20, and the evaluations that it took


def odenet_end(problem: Problem, method: str, tolerance: float) -> End:
    control = Adaptive(tolerance, tolerance, max_steps=10**6)
    solution = solve(problem.f, problem.y0, (0.0, END), Solver(method, control))
    return solution.ys[-1], solution.stats.forward.nfe


def torchdiffeq_end(problem: Problem, method: str, tolerance: float) -> End:
    counted = Counted(problem.f)
    ts = torch.tensor([0.0, END], dtype=torch.float64)
    same = {"rtol": tolerance, "atol": tolerance, "method": method}
    return torchdiffeq.odeint(counted, problem.y0, ts, **same)[-1], counted.nfe


def scipy_end(problem: Problem, method: str, tolerance: float) -> End:
    def f(t, y):
        return problem.f(t, torch.from_numpy(y)).numpy()

    span, y0 = (0.0, END), problem.y0.numpy()
    solution = solve_ivp(f, span, y0, method, rtol=tolerance, atol=tolerance)
    return torch.from_numpy(solution.y[:, -1].copy()), solution.nfev


class Counted:
    def __init__(self, f: Callable) -> None:
        self.f = f
        self.nfe = 0

    def __call__(self, t, y):
        self.nfe += 1
        return self.f(t, y)


@torch.no_grad()
def main() -> None:
    torch.set_num_threads(1)
    exact = {name: scipy_end(p, "DOP853", 1e-12)[0] for name, p in PROBLEMS.items()}
    print(f"DETEST, {len(PROBLEMS)} problems: median error / tolerance (the worst), median NFE")
    print(f"{'':10}{'tolerance':>10}{'odenet':>28}{'torchdiffeq':>28}{'SciPy':>28}")
    for method, (theirs, scipys) in PEERS.items():
        ways = ((odenet_end, method), (torchdiffeq_end, theirs), (scipy_end, scipys))
        for tolerance in TOLERANCES if method != "bosh3" else TOLERANCES[:2]:
            line = f"{method:10}{tolerance:10.0e}"
            for end, name in ways:
                line += f"{summary(end, name, tolerance, exact):>28}"
            print(line, flush=True)


def summary(end: Callable[..., End], method: str, tolerance: float, exact: dict) -> str:
    ratios, counts = [], []
    for name, problem in PROBLEMS.items():
        y, nfe = end(problem, method, tolerance)
        ratios.append(float((y - exact[name]).abs().max()) / tolerance)
        counts.append(nfe)
    return f"{median(ratios):.1f} ({max(ratios):.0f}) {median(counts):.0f}"


if __name__ == "__main__":
    main()
