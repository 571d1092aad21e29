"""diffrax on the tasks, whose fields are written again in JAX. Usable where both are installed."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from replication.chapters.speed.tasks import Task

try:
    import diffrax
    import jax
    import jax.numpy as jnp
except ModuleNotFoundError:
    INSTALLED = False
else:
    INSTALLED = True

Slope = Callable[[Any, Any, Any], Any]  # (t, y, parameters) -> dy/dt


def _small(t: Any, y: Any, p: Sequence[Any]) -> Any:
    return jnp.tanh(y**3 @ p[0].T + p[1]) @ p[2].T + p[3]


def _benchmark(t: Any, y: Any, p: Sequence[Any]) -> Any:
    return jnp.tanh(jax.nn.softplus(y @ p[0].T + p[1]) @ p[2].T + p[3])


def _flow(t: Any, state: Any, p: Sequence[Any]) -> Any:
    h = jnp.tanh(state[:, :2] @ p[0].T + p[1])
    change = (h * h - 1) @ (p[0] * p[2].T).sum(1)
    return jnp.concatenate((h @ p[2].T + p[3], change[:, None]), 1)


def _mnist(t: Any, y: Any, p: Sequence[Any]) -> Any:
    """Parameters: weight and bias of three norms, then of two convolutions."""
    for i in range(2):
        y = jax.nn.relu(_group_norm(y, *p[2 * i : 2 * i + 2]))
        time = jnp.full_like(y[:, :1], t)
        y = jax.lax.conv(jnp.concatenate((time, y), 1), p[6 + 2 * i], (1, 1), "SAME")
        y = y + p[7 + 2 * i][:, None, None]
    return _group_norm(y, *p[4:6])


def _group_norm(y: Any, weight: Any, bias: Any) -> Any:
    groups = y.reshape(len(y), min(32, len(weight)), -1)
    mean, variance = groups.mean(2, keepdims=True), groups.var(2, keepdims=True)
    normal = ((groups - mean) / jnp.sqrt(variance + 1e-5)).reshape(y.shape)
    return normal * weight[:, None, None] + bias[:, None, None]


SLOPES: Mapping[str, Slope] = MappingProxyType(
    {"small": _small, "benchmark": _benchmark, "flow": _flow, "mnist": _mnist}
)


class Diffrax:
    """The solves of one task by dopri5, compiled at their first call.

    Differentiated by checkpoints, which is diffrax's default, or by a solve ``backwards``.
    """

    def __init__(self, name: str, task: Task, backwards: bool = False) -> None:
        adjoints = (diffrax.RecursiveCheckpointAdjoint, diffrax.BacksolveAdjoint)
        self._adjoint = adjoints[backwards]()
        self._slope, self._ts = SLOPES[name], jnp.array(task.ts.numpy())
        self._inputs = jnp.array(task.y0.numpy()), [jnp.array(p.detach()) for p in task.parameters]
        self._states = jax.jit(self._solved)
        self._gradients = jax.jit(jax.grad(self._loss))
        self._euler = jax.jit(self._marched, static_argnums=1)

    def states(self, tolerance: float) -> list[np.ndarray]:
        return [np.asarray(jax.block_until_ready(self._states(self._inputs, tolerance)))]

    def gradients(self, tolerance: float) -> list[np.ndarray]:
        """Of the mean square of the states, for the start and the parameters."""
        y0, parameters = jax.block_until_ready(self._gradients(self._inputs, tolerance))
        return [np.asarray(x) for x in (y0, *parameters)]

    def euler(self, steps: int) -> list[np.ndarray]:
        """The end, by so many steps of Euler's method."""
        return [np.asarray(jax.block_until_ready(self._euler(self._inputs, steps)))]

    def _loss(self, inputs: Any, tolerance: Any) -> Any:
        return (self._solved(inputs, tolerance) ** 2).mean()

    def _solved(self, inputs: Any, tolerance: Any) -> Any:
        ts = self._ts
        times = diffrax.SaveAt(ts=ts) if len(ts) > 2 else diffrax.SaveAt(t0=True, t1=True)
        control = diffrax.PIDController(rtol=tolerance, atol=tolerance)
        return self._solution(inputs, diffrax.Dopri5(), None, times, control)

    def _marched(self, inputs: Any, steps: int) -> Any:
        length = (self._ts[-1] - self._ts[0]) / steps
        return self._solution(
            inputs, diffrax.Euler(), length, diffrax.SaveAt(t1=True), diffrax.ConstantStepSize()
        )

    def _solution(self, inputs: Any, solver: Any, dt0: Any, saveat: Any, control: Any) -> Any:
        y0, parameters = inputs
        return diffrax.diffeqsolve(
            diffrax.ODETerm(self._slope),
            solver,
            self._ts[0],
            self._ts[-1],
            dt0,
            y0,
            args=parameters,
            saveat=saveat,
            stepsize_controller=control,
            adjoint=self._adjoint,
        ).ys
