"""Schema: what a model answered beside its score is of the shape that was agreed."""

from pydantic import BaseModel, ValidationError

from batuta.agents.verification.port import CheckBatch, Verdict, passed

__all__ = ["SchemaCheck"]

#: So many faults of one answer stand in its critique.
_FAULTS_MAX = 3


class SchemaCheck:
    """Passes values that a pydantic model takes, without turning one kind into another.

    SchemaCheck(Reply, of="draft")
    """

    reasons: tuple[str, ...] = ("schema_broken",)

    def __init__(self, schema: type[BaseModel], of: str = "") -> None:
        """Take the shape, and the model whose values must have it; else whoever answers."""
        self._schema = schema
        self._of = of
        self._fits = schema.__pydantic_validator__.isinstance_python

    def check(self, batch: CheckBatch) -> Verdict:
        """Say of each value whether it has the shape."""
        codes, fits, critiques = passed(len(batch)), self._fits, dict[int, str]()
        for row, value in enumerate(batch.values_of(self._of)):
            if not fits(value, strict=True):
                codes[row] = 1
                critiques[row] = self._faults(value)
        return Verdict(codes, critiques)

    def _faults(self, value: object) -> str:
        try:
            self._schema.model_validate(value, strict=True)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)[:_FAULTS_MAX]
            return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found)
        return "the value is not of the agreed shape"
