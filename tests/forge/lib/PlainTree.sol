// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice A Merkle-sum tree by its definition, which the ledger's own is compared with.
library PlainTree {
    struct Node {
        bytes32 hash;
        uint256 sum;
    }

    function leaf(bytes memory data, uint96 amount) internal pure returns (Node memory) {
        return Node(keccak256(abi.encodePacked(uint8(0), amount, data)), amount);
    }

    function preimage(Node memory left, Node memory right) internal pure returns (bytes memory) {
        return abi.encodePacked(uint8(1), left.hash, uint96(left.sum), right.hash, uint96(right.sum));
    }

    function join(Node memory left, Node memory right) internal pure returns (Node memory) {
        return Node(keccak256(preimage(left, right)), left.sum + right.sum);
    }

    /// @dev The level above: pairs from the left; who has no partner is carried up.
    function above(Node[] memory nodes) internal pure returns (Node[] memory parents) {
        parents = new Node[]((nodes.length + 1) / 2);
        for (uint256 i; i < parents.length; ++i) {
            parents[i] = 2 * i + 1 < nodes.length ? join(nodes[2 * i], nodes[2 * i + 1]) : nodes[2 * i];
        }
    }

    function root(Node[] memory nodes) internal pure returns (Node memory) {
        while (nodes.length > 1) nodes = above(nodes);
        return nodes[0];
    }

    /// @dev The proof of `count` neighbours from `first` on.
    function prove(
        Node[] memory nodes,
        uint256 first,
        uint256 count
    ) internal pure returns (bytes memory proof) {
        uint256 last = first + count - 1;
        while (nodes.length > 1) {
            if (first % 2 == 1) proof = bytes.concat(proof, pack(nodes[first - 1]));
            if (last % 2 == 0 && last + 1 < nodes.length) proof = bytes.concat(proof, pack(nodes[last + 1]));
            nodes = above(nodes);
            (first, last) = (first / 2, last / 2);
        }
    }

    function pack(Node memory node) internal pure returns (bytes memory) {
        return abi.encodePacked(node.hash, uint96(node.sum));
    }
}
