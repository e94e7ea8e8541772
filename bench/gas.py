"""Measure what the contract costs: receipt gas on a fresh Anvil, warm, from fixed inputs.

    python bench/gas.py            print the table
    python bench/gas.py --write    and write bench/gas.json
    python bench/gas.py --check    and fail where a figure differs from bench/gas.json or misses its target

Warm means the second time and later: every storage slot that is written held something before. The peers' figures and
the targets come from one trial of all of them under the same rules (docs/contracts.md).
"""

import argparse
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_typing import ChecksumAddress
from web3 import HTTPProvider, Web3

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "bench" / "gas.json"
ARTIFACTS = ROOT / "royalty" / "artifacts"
ANVIL = os.environ.get("ROYALTY_ANVIL", str(ROOT / "node_modules" / ".bin" / "anvil"))

NOON = 1_790_769_600  # 2026-09-30 12:00 UTC: the day that everything happens on
DAY = NOON // 86_400
CENT = 10**7  # a cent in nano-tokens
URI = "ipfs://bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi"
VIEW, DOWNLOAD, EXCERPT = range(3)

WALLETS = 41
GAS = 16_000_000

# At most this much, and what the cheapest peer that can do it on chain costs (docs/contracts.md); per work or deal
# where the name says so.
TARGETS: dict[str, tuple[str, int, str]] = {
    "open_5": ("open a catalogue with 5 holders", 120_000, "93,878 Drips"),
    "open_20": ("open a catalogue with 20 holders", 134_000, "158,342 Drips"),
    "register_1": ("register 1 work", 40_000, "-"),
    "register_100": ("register 100 works in one call", 160_000, "-"),
    "report_1_platform": ("report 1 work, by the platform", 41_500, "34,477 PaymentSplitter"),
    "report_1_reporter": ("report 1 work, by a reporter", 45_000, "-"),
    "report_100_of_100": ("100 works of 100 catalogues, per work", 7_100, "9,952 PaymentSplitter"),
    "report_100_of_1": ("100 works of one catalogue, per work", 650, "9,952 PaymentSplitter"),
    "report_1000_of_1": ("1,000 works of one catalogue, per work", 275, "9,952 PaymentSplitter"),
    "allocate_1": ("allocate one deal of 5 holders", 64_000, "-"),
    "allocate_100": ("allocate 100 deals, per deal", 16_800, "-"),
    "withdraw_all": ("withdraw everything of any number of works", 47_000, "49,451 0xSplits V2"),
    "period_100_deals": (
        "100 works in 100 deals x 5 holders into 41 wallets",
        2_950_000,
        "5,600,000 0xSplits V2 push",
    ),
    "post_1": ("post a tally of 1 work, by a reporter", 90_000, "30,353 1inch, funding apart"),
    "post_1000": (
        "post a tally of 1,000 works, by a reporter",
        90_000,
        "30,353 1inch, funding apart",
    ),
    "post_100000": (
        "post a tally of 100,000 works, by a reporter",
        90_000,
        "30,353 1inch, funding apart",
    ),
    "settle_1_of_2e20": ("settle 1 leaf of 2^20", 95_000, "54,559 1inch, a holder's claim"),
    "settle_128": ("settle 128 neighbours of 2^20, 128 deals, per leaf", 10_000, "-"),
}


# --- The encodings, written down once more: the bench depends on nothing but web3 ---


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def wallet(number: int) -> ChecksumAddress:
    """A wallet that nobody has a key for, always the same."""
    return Web3.to_checksum_address(digest(f"wallet {number}")[:20])


def pack_split(holders: list[ChecksumAddress]) -> bytes:
    """Equal shares, the first holder takes what is left over."""
    ordered = sorted(holders, key=lambda holder: int(holder, 16))
    equal = 1_000_000 // len(ordered)
    shares = [1_000_000 - equal * (len(ordered) - 1)] + [equal] * (len(ordered) - 1)
    entries = zip(ordered, shares, strict=True)
    return b"".join(bytes.fromhex(holder[2:]) + ppm.to_bytes(4, "big") for holder, ppm in entries)


def pack_group(catalogue: int, kind: int, pairs: list[tuple[int, int]]) -> bytes:
    head = (
        catalogue.to_bytes(4, "big") + b"\x00\x01" + bytes([kind]) + len(pairs).to_bytes(2, "big")
    )
    return head + b"".join(i.to_bytes(3, "big") + units.to_bytes(3, "big") for i, units in pairs)


def pack_allocations(deals: list[tuple[int, bytes]]) -> bytes:
    return b"".join(
        catalogue.to_bytes(4, "big") + b"\x00\x01" + (len(split) // 24).to_bytes(2, "big") + split
        for catalogue, split in deals
    )


Node = tuple[bytes, int]


def pack_leaf(catalogue: int, pairs: list[tuple[int, int]]) -> bytes:
    head = catalogue.to_bytes(4, "big") + b"\x00\x01"
    group = DAY.to_bytes(2, "big") + bytes([VIEW]) + len(pairs).to_bytes(2, "big")
    return (
        head
        + group
        + b"".join(i.to_bytes(3, "big") + units.to_bytes(3, "big") for i, units in pairs)
    )


def pack_node(node: Node) -> bytes:
    return node[0] + node[1].to_bytes(12, "big")


def leaf_node(leaf: bytes, amount: int) -> Node:
    return bytes(Web3.keccak(b"\x00" + amount.to_bytes(12, "big") + leaf)), amount


def join(left: Node, right: Node) -> Node:
    return bytes(Web3.keccak(b"\x01" + pack_node(left) + pack_node(right))), left[1] + right[1]


def neighbour(level: int) -> Node:
    """What a proof holds of the rest of a tree: a node of as many leaves of 25 dollars as lie under it."""
    return digest(f"neighbour {level}"), 2_500 * CENT << level


def climb(nodes: list[Node], chosen: range, place: int, levels: int) -> tuple[Node, bytes]:
    """The root of a tree whose leaves from `place` on are known, 1, 2, 4, ... of them, and the chosen ones' proof."""
    proof = b""
    for level in range(levels):
        if len(nodes) == 1:
            other = neighbour(level)
            nodes = [join(other, nodes[0]) if place >> level & 1 else join(nodes[0], other)]
            proof += pack_node(other)
            continue
        proof += pack_node(nodes[chosen.start - 1]) if chosen.start % 2 else b""
        proof += pack_node(nodes[chosen.stop]) if chosen.stop % 2 else b""
        nodes = [join(left, right) for left, right in zip(nodes[::2], nodes[1::2], strict=True)]
        chosen = range(chosen.start // 2, (chosen.stop + 1) // 2)
    return nodes[0], proof


def views(index: int, round_: int) -> int:
    """Between 1 and 5,000 views of a work, different in each round."""
    return 1 + (index * 7_919 + round_ * 104_729) % 5_000


# --- The chain ---


@contextmanager
def anvil() -> Iterator[Web3]:
    """A fresh chain on a free port, ended by its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [ANVIL, "--port", str(port), "--hardfork", "prague", "--timestamp", str(NOON)]
    command += ["--gas-limit", "30000000", "--silent"]
    with subprocess.Popen(command) as process:
        try:
            web3 = Web3(HTTPProvider(f"http://127.0.0.1:{port}"))
            deadline = time.monotonic() + 30
            while not web3.is_connected():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("anvil does not start")
                time.sleep(0.05)
            yield web3
        finally:
            process.terminate()


@dataclass(frozen=True)
class Chain:
    """What every measurement needs."""

    web3: Web3
    royalty: Any
    producer: ChecksumAddress
    platform: ChecksumAddress
    reporter: ChecksumAddress

    def send(self, call: Any, sender: ChecksumAddress) -> int:
        """The gas of a transaction that succeeds."""
        sent = call.transact({"from": sender, "gas": GAS, "gasPrice": 10**10})
        receipt = self.web3.eth.wait_for_transaction_receipt(sent, poll_latency=0.01)
        if receipt["status"] != 1:
            raise SystemExit(f"{call.fn_name} failed")
        return int(receipt["gasUsed"])

    def open(self, split: bytes) -> int:
        tariff = (CENT, 50 * CENT, CENT // 100)
        return self.send(self.royalty.functions.open(split, tariff, DAY - 30, URI), self.producer)

    def register(self, catalogue: int, works: int) -> int:
        fingerprints = [digest(f"work {catalogue}/{number}") for number in range(works)]
        call = self.royalty.functions.register(catalogue, fingerprints, digest("metadata"), URI)
        return self.send(call, self.producer)

    def report(
        self, groups: list[tuple[int, list[tuple[int, int]]]], sender: ChecksumAddress
    ) -> int:
        """Views at one cent each."""
        batch = self.royalty.functions.platformOf(self.platform).call()[1] + 1
        usage = b"".join(pack_group(catalogue, VIEW, pairs) for catalogue, pairs in groups)
        total = CENT * sum(units for _, pairs in groups for _, units in pairs)
        evidence = digest(f"evidence {batch}")
        call = self.royalty.functions.report(self.platform, batch, DAY, evidence, total, usage)
        return self.send(call, sender)

    def post(self, root: Node, leaves: int, works: int) -> int:
        """By the reporter; what is posted of `works` works is as long for any number of them."""
        batch = self.royalty.functions.platformOf(self.platform).call()[1] + 1
        digests = digest(f"evidence of {works}"), digest(f"data of {works}")
        uri = f"{URI}/tally.parquet"
        call = self.royalty.functions.post(
            self.platform, batch, DAY, root[0], leaves, root[1], *digests, uri
        )
        return self.send(call, self.reporter)

    def settle(self, catalogues: list[int], place: int, levels: int, ranges: list[range]) -> int:
        """Ranges of leaves of one work each, which stand from `place` on in a fresh tally of 2^levels leaves: the gas
        of the last range."""
        units = [views(number, 7) for number in range(len(catalogues))]
        leaves = [
            pack_leaf(each, [(each % 7, count)])
            for each, count in zip(catalogues, units, strict=True)
        ]
        amounts = [count * CENT for count in units]
        nodes = [leaf_node(leaf, amount) for leaf, amount in zip(leaves, amounts, strict=True)]
        packed = [
            len(leaf).to_bytes(3, "big") + amount.to_bytes(12, "big") + leaf
            for leaf, amount in zip(leaves, amounts, strict=True)
        ]
        self.post(climb(nodes, ranges[0], place, levels)[0], 1 << levels, len(leaves))
        batch = self.royalty.functions.platformOf(self.platform).call()[1]
        gas = 0
        for chosen in ranges:
            proof = climb(nodes, chosen, place, levels)[1]
            first, given = place + chosen.start, b"".join(packed[chosen.start : chosen.stop])
            call = self.royalty.functions.settle(self.platform, batch, first, given, proof)
            gas = self.send(call, self.producer)
        return gas


def deploy(web3: Web3, name: str, *arguments: Any) -> Any:
    artifact = json.loads((ARTIFACTS / f"{name}.json").read_text())
    contract = web3.eth.contract(abi=artifact["abi"], bytecode=artifact["bytecode"])
    sent = contract.constructor(*arguments).transact({"from": web3.eth.accounts[0], "gas": GAS})
    receipt = web3.eth.wait_for_transaction_receipt(sent, poll_latency=0.01)
    return web3.eth.contract(address=receipt["contractAddress"], abi=artifact["abi"])


def stage(web3: Web3) -> Chain:
    """A ledger with a platform that has money and a reporter."""
    producer, platform, reporter = web3.eth.accounts[:3]
    token = deploy(web3, "TestUSD")
    royalty = deploy(web3, "Royalty", token.address)
    chain = Chain(web3, royalty, producer, platform, reporter)
    money = 10**16
    for call in [
        token.functions.mint(platform, money),
        token.functions.approve(royalty.address, money),
        royalty.functions.deposit(platform, money),
        royalty.functions.setReporter(reporter, True),
        royalty.functions.setLimit(10**16),
    ]:
        chain.send(call, platform)
    # Every wallet has been paid before: its balance of the token is not zero.
    for number in range(WALLETS + 1):
        chain.send(token.functions.mint(wallet(number), 10**6), platform)
    return chain


# --- The measurements ---


def per(gas: int, number: int) -> int:
    """Gas per work or deal, rounded up."""
    return -(-gas // number)


def measure(chain: Chain) -> dict[str, int]:
    gas: dict[str, int] = {}
    five = pack_split([wallet(number) for number in range(5)])
    twenty = pack_split([wallet(number) for number in range(20)])
    for key, split in [("open_5", five), ("open_20", twenty)]:
        chain.open(split)
        gas[key] = chain.open(split)

    chain.register(1, 1)
    gas["register_1"] = chain.register(1, 1)
    gas["register_100"] = chain.register(1, 100)

    # A hundred deals of five holders each, spread evenly over the wallets.
    splits = [
        pack_split([wallet((deal * 5 + place) % WALLETS) for place in range(5)])
        for deal in range(100)
    ]
    first = chain.royalty.functions.catalogues().call() + 1
    deals = [(first + deal, split) for deal, split in enumerate(splits)]
    for split in splits:
        chain.open(split)
    holders = [wallet(number) for number in range(WALLETS)]

    def one(round_: int) -> list[tuple[int, list[tuple[int, int]]]]:
        return [(first, [(12, views(12, round_))])]

    def hundred(round_: int) -> list[tuple[int, list[tuple[int, int]]]]:
        return [(first + deal, [(deal % 7, views(deal, round_))]) for deal in range(100)]

    def many(works: int, round_: int) -> list[tuple[int, list[tuple[int, int]]]]:
        return [(first, [(index, views(index, round_)) for index in range(works)])]

    everything = pack_allocations(deals)
    allocate = chain.royalty.functions.allocate
    pay = chain.royalty.functions.allocateAndPay(everything, holders)

    # The first time, unmeasured: it leaves under one smallest unit with every holder and in every deal.
    chain.report(hundred(0), chain.platform)
    chain.report(one(0), chain.reporter)
    chain.send(pay, chain.platform)

    gas["report_1_platform"] = chain.report(one(1), chain.platform)
    gas["report_1_reporter"] = chain.report(one(2), chain.reporter)
    gas["report_100_of_1"] = per(chain.report(many(100, 3), chain.platform), 100)
    gas["report_1000_of_1"] = per(chain.report(many(1_000, 4), chain.platform), 1_000)
    gas["allocate_1"] = chain.send(allocate(pack_allocations(deals[:1])), chain.platform)

    report_100 = chain.report(hundred(5), chain.platform)
    gas["report_100_of_100"] = per(report_100, 100)
    gas["allocate_100"] = per(chain.send(allocate(everything), chain.platform), 100)
    gas["withdraw_all"] = chain.send(
        chain.royalty.functions.withdraw(holders[0]), holders_own(chain)
    )

    chain.send(pay, chain.platform)
    gas["period_100_deals"] = chain.report(hundred(6), chain.platform) + chain.send(
        pay, chain.platform
    )
    gas |= measure_tallies(chain, five)
    return gas


def measure_tallies(chain: Chain, split: bytes) -> dict[str, int]:
    gas: dict[str, int] = {}
    for works in [1, 1_000, 100_000]:
        root = digest(f"root of {works}"), 2_500 * CENT * works
        chain.post(root, works, works)
        gas[f"post_{works}"] = chain.post(root, works, works)
    first = chain.royalty.functions.catalogues().call() + 1
    for _ in range(128):
        chain.open(split)
    deals = list(range(first, first + 128))
    place = 0b1010_1010_1010_1010_1010
    # The dearest case: no other leaf of its 256 has been settled, so that the word of their bits is a new slot.
    gas["settle_1_of_2e20"] = chain.settle(deals[:1], place, 20, [range(1)])
    # Warm, beside one settled before.
    both = [range(1), range(128, 256)]
    gas["settle_128"] = per(chain.settle(deals[:1] * 128 + deals, place & ~255, 20, both), 128)
    return gas


def holders_own(chain: Chain) -> ChecksumAddress:
    """Who withdraws: anybody may, so one that Anvil has a key for."""
    return chain.web3.eth.accounts[4]


# --- The result ---


def table(gas: dict[str, int]) -> str:
    lines = [f"{'operation':52} {'gas':>10} {'at most':>10}  cheapest peer on chain"]
    for key, (name, target, peer) in TARGETS.items():
        miss = "" if gas[key] <= target else "  MISSED"
        lines.append(f"{name:52} {gas[key]:>10,} {target:>10,}  {peer}{miss}")
    return "\n".join(lines)


def complaints(gas: dict[str, int]) -> list[str]:
    """What `--check` finds: figures that are not the committed ones, targets that are missed."""
    committed = json.loads(RESULT.read_text())
    found = [
        f"{key}: bench/gas.json says {committed.get(key)}, measured {gas[key]}" for key in TARGETS
    ]
    changed = [
        line for key, line in zip(TARGETS, found, strict=True) if committed.get(key) != gas[key]
    ]
    missed = [
        f"{key}: {gas[key]} is over {target}"
        for key, (_, target, _) in TARGETS.items()
        if gas[key] > target
    ]
    return changed + missed


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the contract's gas on a fresh Anvil.")
    parser.add_argument("--write", action="store_true", help="write bench/gas.json")
    parser.add_argument(
        "--check", action="store_true", help="fail where bench/gas.json says something else"
    )
    arguments = parser.parse_args()
    with anvil() as web3:
        gas = measure(stage(web3))
    print(table(gas))
    if arguments.write:
        RESULT.write_text(json.dumps({key: gas[key] for key in TARGETS}, indent=2) + "\n")
    if arguments.check and (found := complaints(gas)):
        print("\n".join(["", *found, "`make gas` writes the figures anew."]), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
