import pytest

from support.credits_world import CreditsWorld


@pytest.fixture
def world() -> CreditsWorld:
    return CreditsWorld()
