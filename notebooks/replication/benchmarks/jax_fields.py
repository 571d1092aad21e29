"""diffrax on the tasks, whose fields are written again in JAX. Usable where both are installed."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from replication.benchmarks.tasks import Task

try:
    import diffrax
    import jax
    import jax.numpy as jnp
except ModuleNotFoundError:  # the benchmark says so
    pass

Call = Callable[[], tuple[Sequence[Any], int | None]]  # as speed.py times it


def small(t: Any, y: Any, p: Sequence[Any]) -> Any:
    return jnp.tanh(y**3 @ p[0].T + p[1]) @ p[2].T + p[3]


def benchmark(t: Any, y: Any, p: Sequence[Any]) -> Any:
    return jnp.tanh(jax.nn.softplus(y @ p[0].T + p[1]) @ p[2].T + p[3])


def flow(t: Any, state: Any, p: Sequence[Any]) -> Any:
    h = jnp.tanh(state[:, :2] @ p[0].T + p[1])
    change = (h * h - 1) @ (p[0] * p[2].T).sum(1)
    return jnp.concatenate((h @ p[2].T + p[3], change[:, None]), 1)


def mnist(t: Any, y: Any, p: Sequence[Any]) -> Any:
    """Parameters: weight and bias of three norms, then of two convolutions."""
    for i in range(2):
        y = jax.nn.relu(group_norm(y, *p[2 * i : 2 * i + 2]))
        time = jnp.full_like(y[:, :1], t)
        y = jax.lax.conv(jnp.concatenate((time, y), 1), p[6 + 2 * i], (1, 1), "SAME")
        y = y + p[7 + 2 * i][:, None, None]
    return group_norm(y, *p[4:6])


def group_norm(y: Any, weight: Any, bias: Any) -> Any:
    groups = y.reshape(len(y), min(32, len(weight)), -1)
    mean, variance = groups.mean(2, keepdims=True), groups.var(2, keepdims=True)
    normal = ((groups - mean) / jnp.sqrt(variance + 1e-5)).reshape(y.shape)
    return normal * weight[:, None, None] + bias[:, None, None]


SLOPES = {"small": small, "benchmark": benchmark, "flow": flow, "mnist": mnist}


def diffrax_calls(name: str, work: Task) -> tuple[Call, Call]:
    """Of a task of that name, the states, and the gradients of their mean square.

    Compiled at their first call, differentiated by checkpoints, which is diffrax's default. It
    does not say how often it evaluates the field: the number returned is 0.
    """
    ts = jnp.array(work.ts.numpy())
    inputs = jnp.array(work.y0.numpy()), [jnp.array(p.detach()) for p in work.parameters]

    def solved(inputs: Any) -> Any:
        return diffrax.diffeqsolve(
            diffrax.ODETerm(SLOPES[name]),
            diffrax.Dopri5(),
            ts[0],
            ts[-1],
            None,
            inputs[0],
            args=inputs[1],
            saveat=diffrax.SaveAt(ts=ts) if len(ts) > 2 else diffrax.SaveAt(t0=True, t1=True),
            stepsize_controller=diffrax.PIDController(rtol=work.tolerance, atol=work.tolerance),
        ).ys

    states, gradients = jax.jit(solved), jax.jit(jax.grad(lambda x: (solved(x) ** 2).mean()))

    def call(compiled: Any) -> tuple[list[Any], int]:
        return jax.tree.leaves(jax.block_until_ready(compiled(inputs))), 0

    return partial(call, states), partial(call, gradients)
