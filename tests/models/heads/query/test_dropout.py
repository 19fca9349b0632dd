import copy

import pytest
import torch
from torch import nn

from coatseg.models.heads.query.dropout import drop_outputs, dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_share_is_dropped_the_rest_scaled_and_gradients_alike(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    values = torch.ones(400, 251, dtype=dtype, requires_grad=True)
    dropped = dropout(values, 0.1)
    kept = dropped != 0
    assert float(kept.float().mean()) == pytest.approx(0.9, abs=3e-3)
    torch.testing.assert_close(dropped[kept], torch.full_like(dropped[kept], 1 / 0.9))
    dropped.sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad, dropped)
    assert abs(torch.corrcoef(kept[:, :4].float().T).fill_diagonal_(0)).max() < 0.2  # of one number, yet independent


def test_the_generators_state_decides_what_is_dropped() -> None:
    torch.manual_seed(3)
    first = dropout(torch.ones(100), 0.5)
    torch.manual_seed(3)
    assert torch.equal(dropout(torch.ones(100), 0.5), first)


def test_modules_drop_in_training_alone_and_copies_do_too() -> None:
    layer = nn.Linear(50, 50)
    drop_outputs(layer, 0.5)
    twin = copy.deepcopy(layer).eval()
    assert (layer(torch.ones(50)) == 0).any()
    assert not (twin(torch.ones(50)) == 0).any()
    assert (twin.train()(torch.ones(50)) == 0).any()
