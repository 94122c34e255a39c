"""What all settings are made of: frozen typed models, and kinds of numbers."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(gt=0, lt=2**31)]
Whole = Annotated[int, Field(ge=0, lt=2**31)]
Weight = Annotated[float, Field(ge=0)]


class Model(BaseModel):
    """Settings: no unknown keys, no silent conversions, never changed."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
