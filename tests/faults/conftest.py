"""What a run ends with that nothing befell: files of faults compare with it."""

import pytest

from tests.faults import chains


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    """State of a run of `plain` that was never interrupted."""
    return chains.whole("plain", tmp_path_factory.mktemp("whole") / "plain", warm=False)[1]
