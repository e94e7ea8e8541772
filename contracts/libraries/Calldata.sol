// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice Reads words of calldata without checking bounds, which callers have checked for the whole list before.
library Calldata {
    /// @notice The 32 bytes from `offset` on; what lies behind the end of `data` is not zeroed.
    /// @dev Measured reason in docs/decisions/0101; tests compare it with slices, `wordBySlice`.
    function word(bytes calldata data, uint256 offset) internal pure returns (uint256 value) {
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            value := calldataload(add(data.offset, offset))
        }
    }

    /// @notice The same in plain Solidity: slower, zero behind the end.
    function wordBySlice(bytes calldata data, uint256 offset) internal pure returns (uint256 value) {
        return uint256(bytes32(data[offset:]));
    }
}
