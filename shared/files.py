"""What people write in files: read strictly, and written whole."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """Frozen, strict, and without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
