"""Number arrays inside documents: exact bytes, so that a digest means the same numbers on every machine."""

from __future__ import annotations

import base64
import binascii
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import field_validator

from protocol.documents.base import Value
from protocol.errors import MalformedDocument

DTYPES = {"float64": np.dtype("<f8"), "int64": np.dtype("<i8")}


class Array(Value):
    """An array of float64 or int64, little-endian, in C order."""

    dtype: Literal["float64", "int64"]
    shape: tuple[int, ...]
    base64: str

    @field_validator("shape")
    @classmethod
    def _shape_is_small(cls, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) > 3 or any(not 0 <= side <= 10_000_000 for side in shape):
            raise ValueError("at most 3 sides of 0 to 10,000,000")
        return shape

    @classmethod
    def of(cls, values: npt.NDArray[np.float64] | npt.NDArray[np.int64]) -> Self:
        """Return the document form of an array."""
        name: Literal["float64", "int64"] = "int64" if values.dtype.kind == "i" else "float64"
        content = np.ascontiguousarray(values, dtype=DTYPES[name]).tobytes()
        return cls(dtype=name, shape=tuple(values.shape), base64=base64.b64encode(content).decode())

    def _decoded(self, name: str) -> npt.NDArray[np.generic]:
        try:
            content = base64.b64decode(self.base64, validate=True)
            if self.dtype != name:
                raise ValueError
            return np.frombuffer(content, dtype=DTYPES[name]).reshape(self.shape).astype(DTYPES[name].newbyteorder("="))
        except (binascii.Error, ValueError):
            raise MalformedDocument(f"an array is not {name} of the stated shape") from None

    def floats(self) -> npt.NDArray[np.float64]:
        """Return the finite float64 array. Raises: MalformedDocument."""
        values = self._decoded("float64").astype(np.float64, copy=False)
        if not np.isfinite(values).all():
            raise MalformedDocument("an array holds a value that is not finite")
        return values

    def integers(self) -> npt.NDArray[np.int64]:
        """Return the int64 array. Raises: MalformedDocument."""
        return self._decoded("int64").astype(np.int64, copy=False)
