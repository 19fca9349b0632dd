"""A constructor's signature as the schema of its options: names, types and defaults, checked before building."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ConfigDict, TypeAdapter, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

from coatseg.errors import ConfigError, nearest

Constructor = Callable[..., Any]
Options = Mapping[str, Any]

PositiveInt = Annotated[int, Gt(0)]
PositiveFloat = Annotated[float, Gt(0), Lt(math.inf)]
NonNegativeInt = Annotated[int, Ge(0)]
NonNegativeFloat = Annotated[float, Ge(0), Lt(math.inf)]
Divisor = Annotated[float, Ge(1), Lt(math.inf)]
Rate = Annotated[float, Ge(0), Lt(1)]
Share = Annotated[float, Ge(0), Le(1)]
PositiveShare = Annotated[float, Gt(0), Le(1)]
InnerShare = Annotated[float, Gt(0), Lt(1)]


def legal(words: str) -> WrapValidator:
    """Return a validator that answers a value that does not fit with these words instead of pydantic's.

    In `Annotated[...]` it stands last, so that it speaks for the ranges before it too.
    """

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            raise PydanticCustomError("legal", "{words}", {"words": words}) from error

    return WrapValidator(validate)


_COLLECTED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
"""What a constructor hands on; no option by itself."""


@dataclass(frozen=True, kw_only=True)
class OptionGroup:
    """Options that several constructors share: a subclass, a dataclass as this one, has them as its fields.

    A constructor takes one as a single argument, `options: RCNN = RCNN()`; in the configuration its fields are keys as
    if each were a parameter of the constructor. Where a constructor has more options or other defaults, it takes a
    subclass that adds or overrides fields.
    """


def option_schema(constructor: Constructor, given: frozenset[str]) -> dict[str, inspect.Parameter]:
    """Return the parameters that a configuration may set: all but those that the program gives.

    Their annotations are the types themselves, never text; an OptionGroup stands here as its fields.

    Raises:
        ConfigError: two parameters or fields have one name, so that a key would mean both.
    """
    arguments = _arguments(constructor)
    schema: dict[str, inspect.Parameter] = {}
    for name, argument in arguments.items():
        options = {name: argument} if name in given else _options_of(argument)
        for option in options:
            if option in schema:
                raise ConfigError(
                    f"{function_of(constructor).__qualname__} has two options called {option}.",
                    "Rename one of them: each is a key of the configuration.",
                )
        schema |= options
    return {option: parameter for option, parameter in schema.items() if option not in given & arguments.keys()}


def check_options(
    constructor: Constructor, options: Options, *, given: frozenset[str], name: str, key: str
) -> dict[str, Any]:
    """Check options against a signature, and return them with the types it asks for.

    Raises:
        ConfigError: an unknown, missing or unfitting option, called `key.option`.
    """
    schema = option_schema(constructor, given)
    for option in options:
        if option not in schema:
            mend = nearest(option, schema) if schema else f"{name} has no options."
            raise ConfigError(f"{key}.{option} is no option of {name}.", mend)
    for option, parameter in schema.items():
        if parameter.default is inspect.Parameter.empty and option not in options:
            raise ConfigError(f"{key}.{option} is needed by {name}.", f"Set {key}.{option}=...")
    return {option: fitting(value, schema[option].annotation, f"{key}.{option}") for option, value in options.items()}


def construct(constructor: Constructor, options: Options, /, **context: Any) -> Any:
    """Call a constructor with checked options, and with those parts of the context that it asks for.

    The options that are fields of an OptionGroup reach the constructor as that group.
    """
    known = inspect.signature(constructor).parameters
    hands_on = any(parameter.kind == inspect.Parameter.VAR_KEYWORD for parameter in known.values())
    values = {name: value for name, value in context.items() if hands_on or name in known}
    plain = dict(options)
    for name, argument in _arguments(constructor).items():
        if name not in context and (group := _group_of(argument)) is not None:
            fields = {field: plain.pop(field) for field in _options_of(argument) if field in plain}
            values[name] = replace(argument.default, **fields) if _has_default(argument) else group(**fields)
    return constructor(**values, **plain)


def fitting(value: Any, hint: Any, key: str) -> Any:
    """Convert a value of the configuration to the type that a signature states.

    Raises:
        ConfigError: it does not fit.
    """
    try:
        return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True)).validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise ConfigError(f"{key}={value} does not fit.", f"{reason}.") from error


def function_of(constructor: Constructor) -> Constructor:
    """Return the function whose signature tells a constructor's options."""
    function = constructor.func if isinstance(constructor, partial) else constructor
    return function.__init__ if inspect.isclass(function) else function


def _arguments(constructor: Constructor) -> dict[str, inspect.Parameter]:
    """Return the parameters that are not bound yet, each with its type for an annotation; without one, with Any."""
    function = function_of(constructor)
    bound = len(constructor.args) if isinstance(constructor, partial) else 0
    signature = inspect.signature(function).parameters
    names = [name for name in signature if name != "self" and signature[name].kind not in _COLLECTED][bound:]
    hints = get_type_hints(function, include_extras=True)
    return {name: signature[name].replace(annotation=hints.get(name, Any)) for name in names}


def _group_of(argument: inspect.Parameter) -> type[OptionGroup] | None:
    """Return the OptionGroup that an argument takes, or None."""
    hint = argument.annotation
    return hint if inspect.isclass(hint) and issubclass(hint, OptionGroup) else None


def _has_default(argument: inspect.Parameter) -> bool:
    return argument.default is not inspect.Parameter.empty


def _options_of(argument: inspect.Parameter) -> dict[str, inspect.Parameter]:
    """Return the options that an argument stands for: itself, or the fields of an OptionGroup.

    A default of the argument states the defaults of the fields.
    """
    group = _group_of(argument)
    if group is None:
        return {argument.name: argument}
    # Not those of its __init__, which a subclass's module would have to resolve for every base.
    hints = get_type_hints(group, include_extras=True)
    fields = {
        name: field.replace(annotation=hints[name]) for name, field in inspect.signature(group).parameters.items()
    }
    if not _has_default(argument):
        return fields
    return {name: field.replace(default=getattr(argument.default, name)) for name, field in fields.items()}
