"""Options are checked against a signature, in which a group of options stands for its fields."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, field
from functools import partial
from typing import Any, Literal

import pytest

from coatseg.errors import ConfigError
from coatseg.registry.options import (
    OptionGroup,
    PositiveInt,
    Share,
    check_options,
    construct,
    option_schema,
)
from tests.registry.groups import Elsewhere

GIVEN = frozenset({"levels"})


@dataclass(frozen=True, kw_only=True)
class Box(OptionGroup):
    width: PositiveInt = 256
    norm: Literal["none", "group"] = "none"


@dataclass(frozen=True, kw_only=True)
class Mask(Box):
    mask_width: PositiveInt = 64


@dataclass(frozen=True, kw_only=True)
class Cascade(Box):
    steps: PositiveInt = 3
    width: PositiveInt = 128


@dataclass(frozen=True, kw_only=True)
class CascadeMask(Cascade, Mask):
    pass


@dataclass(frozen=True, kw_only=True)
class Decay(OptionGroup):
    rate: Share
    shares: list[Share] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class FromElsewhere(Elsewhere):
    depth: PositiveInt = 2


def boxes(levels: int, options: Box) -> tuple[int, Box]:
    return levels, options


def masks(levels: int, options: CascadeMask) -> CascadeMask:
    return options


def beside(levels: int, *, lr: float, box: Box, depth: PositiveInt = 1) -> tuple[float, Box, int]:
    return lr, box, depth


def two(box: Box, decay: Decay) -> tuple[Box, Decay]:
    return box, decay


def imported(options: FromElsewhere) -> FromElsewhere:
    return options


def with_default(box: Box = Mask(width=7, mask_width=5)) -> Box:
    return box


class Reader:
    """A constructor that is a class."""

    def __init__(self, root: str, split: str, *, box: Box = Box(), bands: int = 3) -> None:
        self.made = (root, split, box, bands)


def plain(levels: int, *, width: PositiveInt = 4, name="x") -> tuple[Any, ...]:  # type: ignore[no-untyped-def]
    return levels, width, name


def checked(constructor: Callable[..., Any], **options: Any) -> dict[str, Any]:
    return check_options(constructor, options, given=GIVEN, name="mine", key="head")


def defaults(constructor: Callable[..., Any]) -> dict[str, Any]:
    return {name: parameter.default for name, parameter in option_schema(constructor, GIVEN).items()}


def refused(constructor: Callable[..., Any], **options: Any) -> str:
    with pytest.raises(ConfigError) as error:
        checked(constructor, **options)
    return str(error.value)


def test_fields_are_options_as_if_they_were_parameters() -> None:
    schema = option_schema(boxes, GIVEN)
    assert list(schema) == ["width", "norm"]
    assert schema["width"].annotation == PositiveInt
    assert (schema["width"].default, schema["norm"].default) == (256, "none")
    assert schema["norm"].kind is inspect.Parameter.KEYWORD_ONLY


def test_checked_options_reach_the_constructor_as_its_group() -> None:
    assert construct(boxes, checked(boxes, width="32"), levels=4) == (4, Box(width=32))
    assert construct(boxes, {}, levels=4) == (4, Box())


def test_fields_are_inherited_and_defaults_overridden() -> None:
    assert defaults(masks) == {"width": 128, "norm": "none", "mask_width": 64, "steps": 3}
    assert construct(masks, checked(masks, steps=2), levels=0) == CascadeMask(steps=2, width=128)


def test_a_group_stands_where_its_argument_does() -> None:
    assert list(option_schema(beside, GIVEN)) == ["lr", "width", "norm", "depth"]
    made = construct(beside, checked(beside, lr=0.5, norm="group", depth=2), levels=0)
    assert made == (0.5, Box(norm="group"), 2)


def test_two_groups_share_one_signature() -> None:
    assert list(option_schema(two, GIVEN)) == ["width", "norm", "rate", "shares"]
    assert construct(two, checked(two, rate=1, width=3)) == (Box(width=3), Decay(rate=1.0))


def test_a_class_takes_a_group_beside_what_the_program_gives() -> None:
    assert list(option_schema(Reader, frozenset({"split"}))) == ["root", "width", "norm", "bands"]
    made = construct(Reader, {"root": "here", "width": 2}, split="val", unasked=True).made
    assert made == ("here", "val", Box(width=2), 3)


def test_the_arguments_of_a_partial_are_no_options() -> None:
    assert list(option_schema(partial(Reader, "here"), frozenset({"split"}))) == ["width", "norm", "bands"]
    assert construct(partial(Reader, "here"), {"norm": "group"}, split="val").made[2] == Box(norm="group")


def test_an_argument_s_default_states_the_defaults_of_the_fields() -> None:
    assert defaults(with_default) == {"width": 7, "norm": "none"}
    assert construct(with_default, {"norm": "group"}) == Mask(width=7, norm="group", mask_width=5) != with_default()
    assert construct(with_default, {}) == with_default()


def test_types_of_a_base_in_another_module_are_found_there() -> None:
    assert checked(imported, kind="small", depth="3") == {"kind": "small", "depth": 3}
    assert refused(imported, kind="tall").startswith("head.kind=tall does not fit.\nInput should be 'small' or 'large'")


def test_without_groups_a_signature_is_its_parameters() -> None:
    assert defaults(plain) == {"width": 4, "name": "x"}
    assert checked(plain, width="3", name=[1]) == {"width": 3, "name": [1]}
    assert construct(plain, {"width": 3}, levels=1, classes=2) == (1, 3, "x")


def test_what_takes_any_keyword_gets_the_whole_context() -> None:
    def hands_on(box: Box, **context: Any) -> tuple[Box, dict[str, Any]]:
        return box, context

    assert construct(hands_on, {"width": 1}, levels=1, classes=2) == (Box(width=1), {"levels": 1, "classes": 2})


def test_what_the_program_gives_is_no_group_of_options() -> None:
    assert option_schema(boxes, frozenset({"levels", "options"})) == {}
    assert construct(boxes, {}, levels=1, options=Box(width=9)) == (1, Box(width=9))


def test_an_unknown_option_is_answered_with_the_nearest() -> None:
    assert refused(masks, widht=1) == (
        "head.widht is no option of mine.\nDid you mean width? Choices: mask_width, norm, steps, width."
    )
    assert refused(boxes, options=1) == "head.options is no option of mine.\nChoices: norm, width."
    assert refused(boxes, levels=1) == "head.levels is no option of mine.\nChoices: norm, width."


def test_a_missing_option_is_named() -> None:
    assert refused(two) == "head.rate is needed by mine.\nSet head.rate=..."
    assert refused(beside, width=0) == "head.lr is needed by mine.\nSet head.lr=..."


def test_a_value_that_does_not_fit_is_told_why() -> None:
    assert refused(masks, width=0) == "head.width=0 does not fit.\nInput should be greater than 0."
    assert refused(boxes, norm="bach") == "head.norm=bach does not fit.\nInput should be 'none' or 'group'."
    assert refused(two, rate=0.5, shares=[2]) == (
        "head.shares=[2] does not fit.\nInput should be less than or equal to 1."
    )


def test_two_options_of_one_name_are_refused() -> None:
    def beside_itself(box: Box, *, width: int = 3) -> None: ...

    def twice(box: Box, mask: Mask) -> None: ...

    def with_what_is_given(levels: int, width: int, box: Box) -> None: ...

    for constructor, given in ((beside_itself, GIVEN), (twice, GIVEN), (with_what_is_given, frozenset({"width"}))):
        with pytest.raises(ConfigError) as error:
            option_schema(constructor, given)
        assert error.value.what == f"{constructor.__qualname__} has two options called width."
        assert error.value.mend == "Rename one of them: each is a key of the configuration."


def test_a_group_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        Box().width = 3  # type: ignore[misc]
