"""Names for values of which only those who made them know the type."""

from typing import Any, TypeAlias

Value: TypeAlias = Any
"""A value of a config, or an option that is handed on to another library as it is."""
