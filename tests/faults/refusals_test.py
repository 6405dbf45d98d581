"""A few system calls that are refused; `make faults` refuses every one."""

import pytest

from tests.faults import refusals
from tests.faults.refusals import Refusal

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    if (found := refusals.build(tmp_path_factory.mktemp("library"))) is None:
        pytest.skip("there is no C compiler here (cc), or this is no Linux")
    return found


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal("anew", "write", "/.lock", "EIO", ever=True),  # also as it is released
        Refusal("anew", "fsync", "/checkpoint/.draft/N/N/seal.json", "EDQUOT"),
        Refusal("anew", "rename", "/rows.jsonl", "EROFS"),
        Refusal("again", "read", "/config.json", "EACCES", ever=True),
    ],
    ids=str,
)
def test_a_refused_call_is_one_line_and_the_next_start_goes_on(tmp_path, library, reference, refusal):
    place = refusals.begun("plain", tmp_path / "run", refusal.beginning)
    assert refusals.play(place, refusal, library, reference) == ""
