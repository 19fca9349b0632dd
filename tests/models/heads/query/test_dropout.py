import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from coatseg.models.heads.query.dropout import DroppedReLU, attend, drop_outputs, dropout


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_relu_drops_a_share_of_what_is_above_zero(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    values = torch.randn(400, 251).to(dtype).requires_grad_()
    relu = DroppedReLU(0.2)
    dropped = relu(values)
    kept = dropped > 0
    assert float(kept.float().mean()) == pytest.approx(0.4, abs=1e-2)
    assert not dropped[values <= 0].any()
    torch.testing.assert_close(dropped[kept], values[kept] / 0.8)
    dropped.sum().backward()
    assert values.grad is not None
    torch.testing.assert_close(values.grad, kept.to(dtype) / 0.8)
    assert torch.equal(relu.eval()(values), values.relu())


def test_attention_drops_weights_and_is_torchs_on_average() -> None:
    torch.manual_seed(1)
    module = nn.Module()
    module.is_causal = False  # type: ignore[assignment]
    query, key, value = (torch.randn(2, 3, length, 8) for length in (50, 40, 40))

    def attended(probability: float, **options: float) -> Tensor:
        return attend(module, query, key, value, None, dropout=probability, **options)[0]

    exact = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2)
    torch.testing.assert_close(attended(0.0), exact)
    torch.testing.assert_close(attended(1e-9), exact)  # by our own product, of which nothing is dropped
    torch.testing.assert_close(attended(1e-9, scaling=0.5), attended(0.0, scaling=0.5))
    torch.manual_seed(2)
    mean = torch.stack([attended(0.3) for _ in range(300)]).mean(0)
    assert float((mean - exact).abs().max()) < 0.25
    assert not torch.equal(attended(0.3), exact)
