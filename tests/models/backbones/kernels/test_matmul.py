"""Linear layers by the fastest kernel give what F.linear and autograd give."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from coatseg.models.backbones.kernels import matmul

DTYPES = [torch.float32, torch.float64, torch.bfloat16]
SHAPES = [(1, 8, 16), (7, 24, 5), (321, 65, 130), (1001, 64, 24), (4099, 16, 48)]  # rows, inputs, outputs
# Thousands of rows are summed in float32, some one after the other. In bfloat16 sums are rounded once, to half an eps.
ERRORS = {torch.float32: 5e-6, torch.float64: 1e-14, torch.bfloat16: 0.51 * torch.finfo(torch.bfloat16).eps}


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture
def convolutions(monkeypatch):
    """Whether each product went by a convolution."""
    chosen = []
    choose = matmul.convolves
    monkeypatch.setattr(matmul, "convolves", lambda *given: chosen.append(choose(*given)) or chosen[-1])
    return chosen


def draw(*shapes: tuple[int, ...], dtype: torch.dtype) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]


def assert_near(found: torch.Tensor, exact: torch.Tensor, dtype: torch.dtype) -> None:
    """Compare with float64, relative to the size of what was summed."""
    assert found.shape == exact.shape
    assert (found.double() - exact).abs().max() <= ERRORS[dtype] * exact.abs().max()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.usefixtures("threads")
def test_a_product_is_that_of_a_linear_layer(shape, dtype, bias):
    count, inputs, outputs = shape
    rows, weight, offset = draw((count, inputs), (outputs, inputs), (outputs,), dtype=dtype)
    found = matmul.linear(rows, weight, offset if bias else None)
    assert found.dtype == dtype
    assert found.is_contiguous()
    assert_near(found, F.linear(rows.double(), weight.double(), offset.double() if bias else None), dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.usefixtures("threads")
def test_gradients_are_those_of_autograd(shape, dtype):
    count, inputs, outputs = shape
    rows, weight, gradient = draw((count, inputs), (outputs, inputs), (count, outputs), dtype=dtype)
    found = matmul.linear_backward(gradient, rows, weight)
    leaves = [rows.double().requires_grad_(), weight.double().requires_grad_()]
    bias = torch.zeros(outputs, dtype=torch.float64, requires_grad=True)
    exact = torch.autograd.grad(F.linear(*leaves, bias), [*leaves, bias], gradient.double())
    assert found[0].dtype == dtype
    assert {part.dtype for part in found[1:]} == {torch.float64 if dtype == torch.float64 else torch.float32}
    for ours, theirs in zip(found, exact, strict=True):
        assert_near(ours, theirs, dtype)


@pytest.mark.usefixtures("threads")
def test_rows_may_be_columns_of_a_wider_matrix():
    wide, weight, gradient = draw((1001, 96), (24, 32), (1001, 24), dtype=torch.float32)
    rows = wide[:, 32:64]
    assert_near(matmul.linear(rows, weight), F.linear(rows.double(), weight.double()), torch.float32)
    by_rows, by_weight, by_bias = (part.double() for part in matmul.linear_backward(gradient, rows, weight))
    assert_near(by_rows, gradient.double() @ weight.double(), torch.float32)
    assert_near(by_weight, gradient.double().T @ rows.double(), torch.float32)
    assert_near(by_bias, gradient.double().sum(0), torch.float32)


@pytest.mark.parametrize(
    ("dtype", "count", "forward", "backward"),
    [
        (torch.float32, 320, False, False),  # 20,480 numbers, which PyTorch convolves by a kernel of its own
        (torch.float32, 321, True, True),
        (torch.float64, 5000, False, False),
        (torch.bfloat16, 4095, False, False),
        (torch.bfloat16, 4096, True, False),
        (torch.float16, 5000, False, False),
    ],
)
def test_where_it_is_faster_a_product_goes_by_a_convolution(convolutions, dtype, count, forward, backward):
    rows, weight = torch.zeros(count, 64, dtype=dtype), torch.zeros(16, 64, dtype=dtype)
    gradient = matmul.linear(rows, weight)
    matmul.linear_backward(gradient, rows, weight)
    assert convolutions == [forward, backward]
