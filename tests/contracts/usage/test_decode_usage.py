"""`decodeUsage`: packed usage as a person can read it on a block explorer."""

import pytest
from helpers import DOWNLOAD, EXCERPT, VIEW, pack_usage, refused


def test_each_pair_becomes_a_row(ledger):
    usage = pack_usage(
        (1, 2, VIEW, [(0, 5), (2**24 - 1, 2**24 - 1)]),
        (2**32 - 1, 2**16 - 1, EXCERPT, [(9, 0)]),
        (1, 2, DOWNLOAD, [(3, 4)]),
    )
    assert ledger.decodeUsage(usage) == (
        (1, 1, 2**32 - 1, 1),
        (2, 2, 2**16 - 1, 2),
        (VIEW, VIEW, EXCERPT, DOWNLOAD),
        (0, 2**24 - 1, 9, 3),
        (5, 2**24 - 1, 0, 4),
    )


def test_what_cannot_be_read_is_refused(ledger):
    usage = pack_usage((1, 1, VIEW, [(0, 1)]))
    with refused("GroupMalformed", 0, 14):
        ledger.decodeUsage(usage[:-1])
    with refused("KindUnknown", 7):
        ledger.decodeUsage(pack_usage((1, 1, 7, [(0, 1)])))


@pytest.mark.parametrize("length", [0, 8])
def test_no_group_at_all_is_refused(ledger, length):
    with refused("GroupMalformed", 0, length):
        ledger.decodeUsage(b"\0" * length)
