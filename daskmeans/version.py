"""The version of this package, as text that building reads without its dependencies."""

__version__ = "0.1.0.dev0"
