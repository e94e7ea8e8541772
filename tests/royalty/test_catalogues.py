"""Catalogues without a chain: tariffs, deals out of events, metadata, and who must consent."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from royalty.amendments import Proposal, merge, read_proposal, write_proposal
from royalty.catalogues import (
    check_memo,
    check_reason,
    check_title,
    deals_of,
    holders,
    parse_tariff,
    parties_of,
)
from royalty.chain.events import Event
from royalty.errors import InputError
from royalty.metadata import (
    MAX_INLINE_PUBLIC,
    canonical,
    check_uri,
    make_metadata,
    read_inline,
    text_of,
)
from royalty.shares import Share, Split, make_split, pack_split
from royalty.splitsheet import Party, nearest_whole
from royalty.usage import Kind, Tariff

ANN = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
BO = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
CY = "0x90F79bf6EB2c4f870365E785982E1f101E93b906"
PRODUCER = "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65"
LEDGER = "0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc"

PRICES = {"viewPrice": 3_000_000, "downloadPrice": 0, "excerptPrice": 100_000}


def made(catalogue: int, version: int, from_day: int, block: int = 1) -> Event:
    split = make_split([Share(ANN, 600_000), Share(BO, 400_000)])
    name = "CatalogueOpened" if version == 1 else "DealAmended"
    args = {
        "catalogue": catalogue,
        "version": version,
        "owner": PRODUCER,
        "fromDay": from_day,
        "tariff": PRICES,
        "split": pack_split(split),
        "uri": "",
    }
    return Event(name, args, LEDGER, block, "0x", f"0x{block:064x}", 0)


def test_a_deal_ends_on_the_day_on_which_the_next_starts() -> None:
    events = [made(2, 1, 50), made(1, 2, 20), made(1, 1, 10), made(1, 3, 30)]
    assert [(deal.key, deal.from_day, deal.until_day) for deal in deals_of(events)] == [
        ((1, 1), 10, 20),
        ((1, 2), 20, 30),
        ((1, 3), 30, None),
        ((2, 1), 50, None),
    ]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=10), st.integers(0, 700))
def test_exactly_one_deal_is_in_force_on_every_day_from_the_first(
    gaps: list[int], later: int
) -> None:
    starts = [sum(gaps[:n]) for n in range(1, len(gaps) + 1)]
    found = deals_of(made(1, version, day) for version, day in enumerate(starts, start=1))
    assert sum(deal.in_force(starts[0] + later) for deal in found) == 1
    assert not any(deal.in_force(starts[0] - 1) for deal in found)


def test_deals_know_their_tariff_split_and_holders() -> None:
    (deal,) = deals_of([made(1, 1, 10)])
    assert deal.tariff == Tariff(3_000_000, 0, 100_000)
    assert (deal.ppm_of(ANN), deal.ppm_of(BO), deal.ppm_of(CY)) == (600_000, 400_000, 0)
    assert holders([deal]) == sorted([ANN, BO], key=str.lower)


def test_tariff_needs_every_kind() -> None:
    assert parse_tariff(["excerpt=0.0001", "view=0.003", "download=0"]) == Tariff(
        3_000_000, 0, 100_000
    )
    with pytest.raises(InputError, match="download and excerpt; write download=0"):
        parse_tariff(["view=0.003"])
    with pytest.raises(InputError, match="view and download and excerpt"):
        parse_tariff([])


def test_tariff_of_an_amendment_keeps_what_is_not_named() -> None:
    assert parse_tariff(["view=1"], default=Tariff(1, 2, 3)) == Tariff(10**9, 2, 3)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("view", "cannot be read"),
        ("stream=1", "cannot be read"),
        ("view=", "price of a view '' is not a decimal"),
        ("view=-1", "price of a view '-1' is not a decimal"),
        ("view=0.0000000001", "price of a view 0.0000000001 is finer than a nano-token"),
        ("view=1099.511627776", "price of a view 1099.511627776 is above the highest"),
    ],
)
def test_tariff_that_cannot_be_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        parse_tariff([text, "download=0", "excerpt=0"])


def test_kind_given_twice_is_refused() -> None:
    with pytest.raises(InputError, match="view is given twice"):
        parse_tariff(["view=1", "view=2", "download=0", "excerpt=0"])


@pytest.mark.parametrize("title", ["", "  ", "a\nb", "a\x1b[2J", "\u202eabc", "x" * 301])
def test_title_that_is_no_line_of_text_is_refused(title: str) -> None:
    with pytest.raises(InputError, match="title must be"):
        check_title(title)


def test_reason_is_at_most_31_bytes_and_memo_exactly_32() -> None:
    assert check_reason("é" * 15) == ("é" * 15).encode()
    for text in ("", "é" * 16, "a\tb"):
        with pytest.raises(InputError, match="31 bytes"):
            check_reason(text)
    assert check_memo(None) == bytes(32)
    assert check_memo("0x" + "ab" * 32) == check_memo("AB" * 32) == b"\xab" * 32
    for text in ("0x12", "zz" * 32, "0x" + "ab" * 33, ""):
        with pytest.raises(InputError, match="64 hex digits"):
            check_memo(text)


# --- metadata ---

documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(documents.filter(lambda d: "\ud800" not in json.dumps(d)))
def test_inline_metadata_come_back_with_their_digest(document: object) -> None:
    made = make_metadata(document, None, is_local=True)
    data = read_inline(made.uri)
    assert data == made.data == canonical(document)
    assert hashlib.sha256(made.data).digest() == made.digest
    assert json.loads(made.data) == document


def test_metadata_elsewhere_are_kept_unless_published_or_asked_inline() -> None:
    assert make_metadata({}, None, is_local=False).uri == ""
    assert make_metadata({}, "inline", is_local=False).uri.startswith("data:")
    published = make_metadata({}, "https://films.example/{digest}.json", is_local=True)
    assert published.uri == f"https://films.example/{published.digest.hex()}.json"


def test_metadata_too_large_to_carry_are_refused_with_the_way_out() -> None:
    with pytest.raises(InputError, match="pass --uri"):
        make_metadata({"title": "x" * MAX_INLINE_PUBLIC}, "inline", is_local=False)


@pytest.mark.parametrize(
    "uri", ["", "http://a.example", "javascript:alert(1)", "https://a b", "ipfs://\n", "data:,x"]
)
def test_uri_that_is_neither_https_nor_ipfs_is_refused(uri: str) -> None:
    with pytest.raises(InputError, match="not an https"):
        check_uri(uri)


@given(st.text(max_size=60) | st.just("data:application/json;base64,!!"))
def test_hostile_uris_are_read_as_nothing(uri: str) -> None:
    assert read_inline(uri) is None or uri.startswith("data:application/json;base64,")


@given(documents)
def test_hostile_metadata_name_nobody_or_parties(document: object) -> None:
    parties_of(document)
    parties_of({"holders": document})
    parties_of({"holders": [document]})
    assert isinstance(text_of(document, "title"), str)


# --- consent ---


def proposal(
    after: dict[str, int] | None = None,
    tariff: Tariff | None = None,
    before: dict[str, int] | None = None,
    producer: str = PRODUCER,
) -> Proposal:
    was = before or {ANN: 400_000, BO: 350_000, CY: 250_000}
    becomes = after or was
    return Proposal(
        31337,
        LEDGER,
        1,
        1,
        producer,
        20_000,
        20_000 * 86_400 - 1,
        Tariff(3, 2, 1),
        tariff or Tariff(3, 2, 1),
        make_split([Share(holder, ppm) for holder, ppm in was.items()]),
        make_split([Share(holder, ppm) for holder, ppm in becomes.items()]),
        "Sintel",
        (Party("Ann", ANN, "director", 400_000),),
        "",
    )


def reasons(found: Proposal) -> dict[str, str]:
    return {consent.holder: consent.reason for consent in found.needed}


def test_who_loses_share_must_sign() -> None:
    found = proposal({ANN: 300_000, BO: 700_000})
    assert reasons(found) == {
        ANN: "its share falls from 40% to 30%",
        CY: "its share ends",
    }


def test_nobody_must_sign_where_prices_rise_and_shares_stay() -> None:
    assert proposal(tariff=Tariff(4, 3, 2)).needed == []


@pytest.mark.parametrize("tariff", [Tariff(2, 9, 9), Tariff(9, 1, 9), Tariff(9, 9, 0)])
def test_everybody_must_sign_where_any_price_falls(tariff: Tariff) -> None:
    assert set(reasons(proposal(tariff=tariff))) == {ANN, BO, CY}


def test_owner_among_the_holders_consents_by_submitting() -> None:
    assert set(reasons(proposal(tariff=Tariff(0, 0, 0), producer=ANN))) == {BO, CY}


weights = st.lists(st.integers(0, 100), min_size=3, max_size=3).filter(any)


@given(weights, weights, st.tuples(*[st.integers(0, 5)] * 3))
def test_no_share_and_no_price_falls_without_a_signature(
    was: list[int], becomes: list[int], prices: tuple[int, int, int]
) -> None:
    people = (ANN, BO, CY)

    def shares(numbers: list[int]) -> dict[str, int]:
        some = [(who, n) for who, n in zip(people, numbers, strict=True) if n]
        ppm = nearest_whole([n for _, n in some])
        return {who: share for (who, _), share in zip(some, ppm, strict=True)}

    before, after = shares(was), shares(becomes)
    found = proposal(after, Tariff(*prices), before)
    cheaper = any(found.tariff.price(k) < found.tariff_before.price(k) for k in Kind)
    losers = {who for who in before if cheaper or after.get(who, 0) < before[who]}
    assert set(reasons(found)) == losers


def test_vector_of_the_contracts_is_signed_alike() -> None:
    from royalty.chain.amendments import signer_of, typed_digest

    vector = json.loads((Path(__file__).parents[1] / "vectors/amendment.json").read_text())

    def split(word: str) -> Split:
        pairs = zip(vector[word]["holders"], vector[word]["ppm"], strict=True)
        return make_split([Share(holder, ppm) for holder, ppm in pairs])

    tariff = Tariff(*map(int, vector["tariff"]))
    found = Proposal(
        vector["chain_id"],
        vector["contract"],
        vector["catalogue"],
        vector["version"],
        vector["producer"],
        vector["from_day"],
        vector["deadline"],
        tariff,
        tariff,
        split("current_split"),
        split("new_split"),
        "T",
        (),
        "",
    )
    assert "0x" + typed_digest(found.typed_data).hex() == vector["digest"]
    signature = bytes.fromhex(vector["signature"][2:])
    assert signer_of(found.typed_data, signature) == vector["signer"]
    assert [consent.holder for consent in found.needed] == [vector["signer"]]


def test_proposal_comes_back_from_its_file(tmp_path: Path) -> None:
    found = proposal({ANN: 300_000, BO: 700_000})
    write_proposal(tmp_path / "p.json", found, new=True)
    again = read_proposal(tmp_path / "p.json")
    assert again.typed_data == found.typed_data
    assert again.needed == found.needed
    with pytest.raises(InputError, match="exists already"):
        write_proposal(tmp_path / "p.json", found, new=True)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("from", "2031-01-01", "altered"),
        ("deadline", 5, "altered"),
        ("catalogue", 9, "altered"),
        ("tariff", {"view_nano": "9", "download_nano": "2", "excerpt_nano": "1"}, "altered"),
        ("tariff", {}, "not a whole proposal"),
        ("split", [], "not a whole proposal"),
        ("split", [{"address": ANN, "share_ppm": 5}], "not a whole proposal"),
        ("signatures", {ANN: "hello"}, "not a signature"),
        ("signatures", [], "not a whole proposal"),
        ("contract", "0x12", "not a whole proposal"),
        ("format", "other", "is not a proposal"),
    ],
)
def test_altered_proposal_is_refused(tmp_path: Path, key: str, value: object, reason: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps(proposal().document() | {key: value}))
    with pytest.raises(InputError, match=reason):
        read_proposal(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b'{"format":1}'])
def test_file_that_is_no_proposal_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.json").write_bytes(content)
    with pytest.raises(InputError, match="is not a proposal"):
        read_proposal(tmp_path / "p.json")


def test_copies_are_joined_and_different_proposals_are_not() -> None:
    from dataclasses import replace

    one = replace(proposal(), signatures={ANN: "0x01"})
    other = replace(proposal(), signatures={BO: "0x02"})
    assert merge([one, other]).signatures == {ANN: "0x01", BO: "0x02"}
    with pytest.raises(InputError, match="different proposals"):
        merge([one, proposal(tariff=Tariff(9, 9, 9))])
