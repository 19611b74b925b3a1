"""Finds the packages of the wheel; everything else about packaging is in pyproject.toml."""

from setuptools import find_packages, setup


def plugin_packages(folder: str) -> list[str]:
    # The folders themselves have no __init__.py (see bench/methods.py), the packages inside them do.
    return [f"bench.{folder}", *(f"bench.{folder}.{name}" for name in find_packages(folder))]


setup(packages=[*find_packages(include=["bench", "bench.*"]), *plugin_packages("methods"), *plugin_packages("datasets")])
