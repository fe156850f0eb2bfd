"""The version of this gateway, known without installed package metadata (containers have none)."""

from typing import Final

VERSION: Final = "0.1.0"
