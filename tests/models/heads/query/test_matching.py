import pytest
import torch

from coatseg.models.heads.query.matching import match


def test_the_pairs_have_the_least_total_cost() -> None:
    # Each object alone would take query 0; together 0 + 1 costs 1 + 2, and 1 + 0 costs 3 + 1.
    costs = torch.tensor([[1.0, 1.0], [3.0, 2.0], [9.0, 9.0]])
    ((queries, objects),) = match([costs])
    assert (queries.tolist(), objects.tolist()) == ([0, 1], [0, 1])


def test_every_matrix_is_matched_alone_an_empty_one_too() -> None:
    costs = [torch.tensor([[2.0], [1.0]]), torch.zeros(3, 0), torch.tensor([[5.0, 1.0]]).bfloat16()]
    pairs = [(queries.tolist(), objects.tolist()) for queries, objects in match(costs)]
    assert pairs == [([1], [0]), ([], []), ([0], [1])]
    assert match([]) == []


def test_costs_that_are_no_numbers_are_chosen_last() -> None:
    ((queries, objects),) = match([torch.tensor([[torch.nan, 1e9], [3.0, torch.inf]], requires_grad=True)])
    assert (queries.tolist(), objects.tolist()) == ([0, 1], [1, 0])


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_costs_without_any_number_still_give_pairs(value: float) -> None:
    ((queries, objects),) = match([torch.full((3, 2), value)])
    assert len(queries) == len(objects) == 2
    assert queries.dtype == objects.dtype == torch.int64
