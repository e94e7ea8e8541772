"""Measure a tally's tree of 1,000,000 leaves of one work each: CPU time, memory, and that proofs are right.

python bench/tree.py            print the figures
python bench/tree.py --check    and fail where a target is missed
"""

import argparse
import random
import resource
import sys
import time

from royalty.merkle import Claim, DayGroup, Leaf, leaf_node, make_tree, verify
from royalty.usage import Kind

LEAVES = 1_000_000
CENT = 10**7
MOST_CPU_SECONDS = 6.0
MOST_BYTES = 2**30


def packed_leaf(number: int) -> bytes:
    """A leaf of one work, between 1 and 5,000 views of one day."""
    group = DayGroup(20_726, Kind.VIEW, ((number % 7, units(number)),))
    return Leaf(number + 1, 1, (group,)).pack()


def units(number: int) -> int:
    return 1 + number * 7_919 % 5_000


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure a tally's tree of 1,000,000 leaves.")
    parser.add_argument("--check", action="store_true", help="fail where a target is missed")
    check = parser.parse_args().check
    leaves = [packed_leaf(number) for number in range(LEAVES)]
    start = time.process_time()
    tree = make_tree(leaf_node(leaf, units(number) * CENT) for number, leaf in enumerate(leaves))
    seconds = time.process_time() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    start = time.process_time()
    chosen = random.Random(1).sample(range(LEAVES - 128), 1_000)
    proofs = [(first, tree.prove(first)) for first in chosen] + [(0, tree.prove(0))]
    proving = (time.process_time() - start) / len(proofs)
    for first, proof in proofs:
        claim = Claim(leaves[first], units(first) * CENT)
        assert verify([claim], first, LEAVES, proof, tree.root, tree.total)
    print(f"tree of {LEAVES:,} leaves: {seconds:.2f} CPU-s (at most {MOST_CPU_SECONDS:.0f})")
    print(
        f"memory at its highest, leaves included: {memory / 2**20:,.0f} MiB (at most {MOST_BYTES / 2**20:,.0f})"
    )
    print(f"a proof: {proving * 1e6:.0f} microseconds")
    return int(check and (seconds > MOST_CPU_SECONDS or memory > MOST_BYTES))


if __name__ == "__main__":
    sys.exit(main())
