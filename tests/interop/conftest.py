import pytest
from world import World


@pytest.fixture(scope="session")
def world():
    w = World()
    yield w
    w.close()
