// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice Reads calldata without checking bounds, which callers have checked for the whole list before.
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

    /// @notice The bytes from `start` to before `end`; measured reason in docs/decisions/0110.
    function part(
        bytes calldata data,
        uint256 start,
        uint256 end
    ) internal pure returns (bytes calldata slice) {
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            slice.offset := add(data.offset, start)
            slice.length := sub(end, start)
        }
    }
}
