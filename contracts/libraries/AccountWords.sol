// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice A holder's account as the one word that it is stored in.
/// @dev From the lowest bit: nano-tokens 240, opened 1, has a payee 1. `opened` is never cleared, so that the slot does
/// not return to zero: the next credit then costs 5,000 gas instead of 22,100 (docs/decisions/0102).
type AccountWord is uint256;

using AccountWords for AccountWord global;

/// @notice Reads or changes an account's word.
library AccountWords {
    uint256 private constant OPENED = 1 << 240;
    uint256 private constant HAS_PAYEE = 1 << 241;

    /// @notice The account with `amount` nano-tokens more, less than 2^96 of them.
    function plus(AccountWord word, uint256 amount) internal pure returns (AccountWord) {
        // 240 bits hold 2^144 of the largest credits: no number of allocations reaches the flags.
        unchecked {
            return AccountWord.wrap((AccountWord.unwrap(word) + amount) | OPENED);
        }
    }

    /// @notice The account with another amount of nano-tokens, less than 2^240 of them.
    function withNano(AccountWord word, uint256 amount) internal pure returns (AccountWord) {
        return AccountWord.wrap((AccountWord.unwrap(word) & ~uint256(type(uint240).max)) | amount);
    }

    /// @notice The account with or without a payee.
    function withPayee(AccountWord word, bool named) internal pure returns (AccountWord) {
        uint256 cleared = AccountWord.unwrap(word) & ~HAS_PAYEE;
        return AccountWord.wrap(named ? cleared | HAS_PAYEE : cleared);
    }

    /// @notice The holder's money in nano-tokens.
    function nano(AccountWord word) internal pure returns (uint256) {
        return uint240(AccountWord.unwrap(word));
    }

    /// @notice Whether the holder has named a payee.
    function hasPayee(AccountWord word) internal pure returns (bool) {
        return AccountWord.unwrap(word) & HAS_PAYEE != 0;
    }
}
