"""Which query learns which object: the assignment of least total cost (DETR, Carion et al., 2020, section 3.1)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

FORBIDDEN = 1e12
"""The cost in place of one that is no number: such a pair is chosen only where nothing else is left."""


def match(costs: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Return, for each matrix of costs (queries, objects), the queries and the objects that belong together.

    Both are int64 on the CPU, min(queries, objects) of them, the queries increasing; of more objects than queries, the
    costliest have none. All matrices reach the CPU at once, since an accelerator has to be waited for each time. Costs
    that are not finite never stop a step: a broken loss is told by the loss itself.
    """
    if not costs:
        return []
    flat = torch.cat([cost.detach().flatten() for cost in costs]).cpu().double()
    finite = torch.where(flat.abs() < FORBIDDEN, flat, FORBIDDEN).numpy()
    ends = list(itertools.accumulate(cost.numel() for cost in costs))
    rows = zip(costs, [0, *ends], ends, strict=False)
    pairs = [linear_sum_assignment(finite[begin:end].reshape(cost.shape)) for cost, begin, end in rows]
    return [(torch.from_numpy(queries), torch.from_numpy(objects)) for queries, objects in pairs]
