"""The command line's fixtures serve here too."""

from tests.cli.conftest import cli, local

__all__ = ["cli", "local"]
