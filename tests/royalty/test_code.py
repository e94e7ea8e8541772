"""`audit code`: a ledger's code is this package's to the byte, or it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from royalty.artifacts import artifact
from royalty.errors import InputError
from tests.conftest import Anvil, Ran


@pytest.fixture
def replaced(session: Callable[..., Any], anvil: Anvil) -> Iterator[Callable[[int, bytes], Any]]:
    """Puts other bytes into the ledger's code and returns what the audit says of it."""
    snapshot = anvil.request("evm_snapshot")
    royalty = session()

    def put(at: int, data: bytes) -> Any:
        code = bytearray(royalty.node.code(royalty.ledger.address))
        code[at : at + len(data)] = data
        anvil.request("anvil_setCode", royalty.ledger.address, "0x" + code.hex())
        return session().audit.code(royalty.token.address)

    yield put
    anvil.request("evm_revert", snapshot)


def test_a_ledger_of_ours_is_the_packages_code(session: Callable[..., Any]) -> None:
    from royalty import __version__

    found = session().audit.code()
    assert found.same
    assert found.document()["version"] == __version__
    assert (found.differs_at, found.size) == ((), found.expected_size)
    assert found.deterministic, "Anvil has the factory"
    assert len(found.immutables) == 11 and all(one.right for one in found.immutables)
    assert found.document()["compiler"].startswith("0.8.")


def test_a_single_other_byte_is_another_code(replaced: Callable[[int, bytes], Any]) -> None:
    found = replaced(5_000, b"\xfe")
    assert not found.same
    assert found.differs_at == (5_000,)
    assert found.document()["version"] is None


@pytest.mark.parametrize("name", sorted(artifact("Royalty").immutables))
def test_no_value_in_the_code_can_be_another(
    replaced: Callable[[int, bytes], Any], session: Callable[..., Any], name: str
) -> None:
    """Masked, another token or scale would pass for ours; computed, it does not."""
    last = artifact("Royalty").immutables[name][-1] + 31
    now = session().node.code(session().ledger.address)[last]
    found = replaced(last, bytes([now ^ 1]))
    assert not found.same
    assert found.differs_at == ()
    assert [one.name for one in found.immutables if not one.right] == [name]


def test_the_scales_of_a_token_cannot_change_places(
    replaced: Callable[[int, bytes], Any], session: Callable[..., Any]
) -> None:
    places = artifact("Royalty").immutables
    code = session().node.code(session().ledger.address)
    one, other = places["_nanoPerUnit"][0], places["_unitsPerNano"][0]
    found = replaced(one, code[other : other + 32])
    assert [each.name for each in found.immutables if not each.right] == ["_nanoPerUnit"]


def test_code_that_goes_on_or_is_cut_is_another(
    session: Callable[..., Any], replaced: Callable[[int, bytes], Any]
) -> None:
    size = len(session().node.code(session().ledger.address))
    assert replaced(size, b"\x00").same is False
    assert replaced(size, b"\x00").differs_at == ()


def test_another_token_than_expected_is_found(session: Callable[..., Any]) -> None:
    royalty = session()
    with pytest.raises(InputError, match="token"):
        royalty.audit.code("0x" + "12" * 20)
    from royalty.chain.deploy import init_code
    from royalty.chain.sender import raw_call

    receipt = royalty.send(raw_call(None, init_code("TestUSD"), "another token"))
    found = royalty.audit.code(receipt.created)
    assert [one.name for one in found.immutables if not one.right] == ["_token"]
    assert not found.deterministic


def test_the_command_says_it_and_exits_1(run: Callable[..., Ran], anvil: Anvil) -> None:
    told = run("audit", "code")
    assert (told["same"], told["deterministic_address"]) == (True, True)
    assert "is that of royalty" in run("audit", "code", json=False).stdout
    address = told["address"]
    snapshot = anvil.request("evm_snapshot")
    code = anvil.request("eth_getCode", address, "latest")
    anvil.request("anvil_setCode", address, code[:10_002] + "fe" + code[10_004:])
    told = run("audit", "code", exit=1)
    assert (told["same"], told["version"], told["differs_at"]) == (False, None, [5_000])
    shown = run("audit", "code", json=False, exit=1).stdout
    assert "is NOT that of royalty" in shown
    assert max(map(len, shown.splitlines())) <= 80
    anvil.request("evm_revert", snapshot)
