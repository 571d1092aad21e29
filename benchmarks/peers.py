"""Other libraries on the small field, each where it is installed: none is a dependency."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor, nn

Ways = dict[str, Callable]


def torchode_ways(field: nn.Module, y0: Tensor, ts: Tensor, rtol: float, atol: float) -> Ways:
    """torchode, which gives every row of the batch its own steps."""
    if not find_spec("torchode"):
        return {}
    import torchode

    term = torchode.ODETerm(field)
    control = torchode.IntegralController(atol=atol, rtol=rtol, term=term)
    solver = torchode.AutoDiffAdjoint(torchode.Dopri5(term=term), control)
    problem = torchode.InitialValueProblem(y0=y0, t_eval=ts.repeat(len(y0), 1))
    return {"torchode": lambda: solver.solve(problem).ys.transpose(0, 1)}


def torchdyn_ways(field: nn.Module, y0: Tensor, ts: Tensor, rtol: float, atol: float) -> Ways:
    """torchdyn, differentiated through the solver's operations."""
    if not find_spec("torchdyn"):
        return {}
    from torchdyn.numerics import odeint

    return {"torchdyn": lambda: odeint(field, y0, ts, solver="dopri5", atol=atol, rtol=rtol)[1]}


def diffrax_ways(
    field: nn.Module, y0: Tensor, ts: Tensor, rtol: float, atol: float, gradient: bool
) -> Ways:
    """diffrax, compiled; with ``gradient`` the parameters' gradient of the mean absolute state."""
    if not find_spec("diffrax"):
        return {}
    import diffrax
    import jax
    import jax.numpy as jnp

    parameters = [jnp.array(p.detach().numpy()) for p in field.parameters()]
    start, times = jnp.array(y0.numpy()), jnp.array(ts.numpy())

    def slope(t, y, p):
        return jnp.tanh(y**3 @ p[0].T + p[1]) @ p[2].T + p[3]

    def solution(p):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(slope),
            diffrax.Dopri5(),
            times[0],
            times[-1],
            None,
            start,
            args=p,
            saveat=diffrax.SaveAt(ts=times) if len(ts) > 2 else diffrax.SaveAt(t0=True, t1=True),
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
        ).ys

    wanted = jax.grad(lambda p: jnp.abs(solution(p)).mean()) if gradient else solution
    compiled = jax.jit(wanted)

    def way() -> list[Tensor]:
        found = jax.block_until_ready(compiled(parameters))
        return [torch.tensor(jax.device_get(x)) for x in (found if gradient else [found])]

    return {"diffrax, compiled": way}
