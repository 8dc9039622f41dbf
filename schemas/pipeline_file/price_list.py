"""The price list: what models cost, in one file that several pipelines name.

    forest: {cost: 0.00001 EUR}
    small-instruct: {input: 0.15 EUR, output: 0.60 EUR}

A model is listed under its name at its server, or the name it has in the pipeline. What a pipeline
file says of a price itself holds before the list; a model with neither is refused.
"""

from collections.abc import Mapping
from typing import Final, Self, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from batuta.schemas.pipeline_file.entries import refuse
from batuta.schemas.pipeline_file.problems import PipelineFileError, Problem, value_text
from batuta.schemas.pipeline_file.quantities import MoneyText
from batuta.schemas.pipeline_file.yaml_tree import Tree, read_tree

__all__ = ["ListedPrice", "priced", "read_price_list"]

_SHAPE: Final = "write NAME: {cost: 0.0008 EUR}, or NAME: {input: 0.15 EUR, output: 0.60 EUR}"

#: A price as it is written, by the key it is written under.
_Written = Mapping[str, str]


class ListedPrice(BaseModel):
    """What one model costs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cost: MoneyText | None = Field(default=None, description="of one answer")
    input: MoneyText | None = Field(default=None, description="of a million tokens read")
    output: MoneyText | None = Field(default=None, description="of a million tokens written")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.input is None) != (self.output is None) or not self.model_fields_set:
            raise refuse(f"says half of a price; {_SHAPE}")
        return self


def read_price_list(text: str, name: str) -> Mapping[str, _Written]:
    """Read a price list.

    Args:
        text: its text.
        name: what messages call it.

    Raises:
        PipelineFileError: every problem found, one line each.
    """
    tree = read_tree(text, name)
    if not isinstance(tree.value, dict):
        what = f"{value_text(tree.value)} is no mapping; {_SHAPE}"
        raise PipelineFileError([tree.problem((), what)])
    listed = cast("dict[str, object]", tree.value)
    problems = [one for model, price in listed.items() for one in _problems(tree, model, price)]
    if problems:
        raise PipelineFileError(problems)
    return cast("Mapping[str, _Written]", listed)


def priced(tree: Tree, listed: Mapping[str, _Written], name: str) -> dict[str, object]:
    """Return what a pipeline file says, with the prices of a list.

    Raises:
        PipelineFileError: a model has no price, neither there nor in the list.
    """
    value = cast("dict[str, object]", tree.value)
    models = value.get("models")
    if not isinstance(models, dict):
        return value
    problems: list[Problem] = []
    found: dict[str, object] = {}
    for model, entry in cast("dict[str, object]", models).items():
        found[model] = entry
        if not isinstance(entry, dict) or {"cost", "prices"} & entry.keys():
            continue
        said = cast("dict[str, object]", entry)
        price = listed.get(str(said.get("model", model))) or listed.get(model)
        if price is None:
            free = f"add {said.get('model', model)}: {{cost: 0 EUR}} to {name} if it is free"
            problems.append(tree.problem(("models", model), f"its price is missing; {free}"))
        else:
            found[model] = {**said, **_keys(price)}
    if problems:
        raise PipelineFileError(problems)
    return {**value, "models": found}


def _keys(price: _Written) -> dict[str, object]:
    tokens = {key: price[key] for key in ("input", "output") if key in price}
    keys: dict[str, object] = {"prices": tokens} if tokens else {}
    return {**keys, "cost": price["cost"]} if "cost" in price else keys


def _problems(tree: Tree, model: str, price: object) -> list[Problem]:
    try:
        ListedPrice.model_validate(price)
    except ValidationError as error:
        return [
            tree.problem((model, *one["loc"]), _sentence(one["type"], one["msg"], one["input"]))
            for one in error.errors(include_url=False)
        ]
    return []


def _sentence(kind: str, said: str, value: object) -> str:
    return said if kind == "pipeline_file" else f"{value_text(value)} is no price; {_SHAPE}"
