// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {IRoyalty, Platform} from "../interfaces/IRoyalty.sol";
import {AccountWord} from "../libraries/AccountWords.sol";
import {DealWord} from "../libraries/DealWords.sol";
import {NanoTokens} from "../libraries/NanoTokens.sol";
import {Shares} from "../libraries/Shares.sol";

/// @notice Keeps the books that the parts share, with the only doors through which tokens pass.
abstract contract Ledger is IRoyalty, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @dev What is stored of a deal: the word that usage touches, with the hash of its split beside it.
    struct StoredDeal {
        DealWord word;
        bytes32 splitHash;
    }

    /// @dev What is stored of a holder; the payee itself lies apart, read only where the word says that there is one.
    struct Account {
        AccountWord word;
    }

    IERC20 private immutable _token;
    uint8 private immutable _decimals;
    uint256 private immutable _nanoPerUnit;
    uint256 private immutable _unitsPerNano;

    /// @dev Keyed by catalogue << 16 | version, which is how usage and allocations write a deal.
    mapping(uint48 dealId => StoredDeal deal) internal _deals;

    mapping(address platform => Platform state) internal _platforms;

    mapping(address holder => Account account) internal _accounts;

    constructor(address token_) {
        _token = IERC20(token_);
        (bool read, uint8 decimals) = SafeERC20.tryGetDecimals(_token);
        if (!read) revert DecimalsUnsupported(type(uint256).max);
        (_nanoPerUnit, _unitsPerNano) = NanoTokens.scaleOf(decimals);
        _decimals = decimals;
        emit Deployed({token: token_, decimals: decimals});
    }

    /// @inheritdoc IRoyalty
    function tokenDecimals() external view returns (uint8) {
        return _decimals;
    }

    /// @inheritdoc IRoyalty
    function token() public view returns (address) {
        return address(_token);
    }

    /// @dev Interaction: pulls exactly `amount` of the token's smallest unit from the sender.
    function _pull(uint256 amount) internal {
        uint256 before = _held();
        _token.safeTransferFrom(msg.sender, address(this), amount);
        uint256 held = _held();
        _requireExact({expected: amount, moved: held > before ? held - before : 0});
    }

    /// @dev Interaction: sends exactly `amount` of the token's smallest unit, `before` being what was held till now.
    function _send(address to, uint256 amount, uint256 before) internal returns (uint256 held) {
        _token.safeTransfer(to, amount);
        held = _held();
        _requireExact({expected: amount, moved: before > held ? before - held : 0});
    }

    /// @dev An amount from outside in nano-tokens.
    function _toNano(uint256 amount) internal view returns (uint96 nano) {
        return NanoTokens.fromUnits({amount: amount, nanoPerUnit: _nanoPerUnit, unitsPerNano: _unitsPerNano});
    }

    /// @dev What of `nano` can leave the ledger, in the token's smallest unit, then what stays, in nano-tokens.
    function _toUnits(uint256 nano) internal view returns (uint256 amount, uint256 rest) {
        return NanoTokens.toUnits({nano: nano, nanoPerUnit: _nanoPerUnit, unitsPerNano: _unitsPerNano});
    }

    /// @dev What the contract holds of the token, in its smallest unit.
    function _held() internal view returns (uint256) {
        return _token.balanceOf(address(this));
    }

    /// @dev The block's own UTC day.
    function _today() internal view returns (uint256) {
        return block.timestamp / 1 days;
    }

    /// @dev Refuses addresses at which money would be stuck.
    function _requireReachable(address account) internal view {
        if (account == address(0) || account == address(this) || account == address(_token)) {
            revert AddressRefused(account);
        }
    }

    /// @dev Refuses a split other than the one that the deal was made with; no split has the hash of a deal unknown.
    function _requireSplit(StoredDeal storage deal, uint48 dealId, bytes calldata split) internal view {
        bytes32 expected = deal.splitHash;
        bytes32 given = Shares.hashOf(split);
        if (given == expected) return;
        if (!deal.word.exists()) revert DealUnknown(_catalogueOf(dealId), _versionOf(dealId));
        revert SplitMismatch(_catalogueOf(dealId), _versionOf(dealId), expected, given);
    }

    function _dealId(uint32 catalogue, uint16 version) internal pure returns (uint48) {
        return (uint48(catalogue) << 16) | version;
    }

    function _catalogueOf(uint48 dealId) internal pure returns (uint32) {
        return uint32(dealId >> 16);
    }

    function _versionOf(uint48 dealId) internal pure returns (uint16) {
        return uint16(dealId);
    }

    function _requireExact(uint256 expected, uint256 moved) private pure {
        if (moved != expected) revert TransferNotExact({expected: expected, moved: moved});
    }
}
