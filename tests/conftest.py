"""Shared by every layer: the project's root on the path, and the markers."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def pytest_configure(config):
    config.addinivalue_line("markers", "valgrind: small enough to run under valgrind too")
