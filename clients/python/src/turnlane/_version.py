"""This package's version: the same as that of the turnlane that it was made with."""

__version__ = "0.1.0"
