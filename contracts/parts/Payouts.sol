// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {IRoyalty} from "../interfaces/IRoyalty.sol";
import {AccountWord} from "../libraries/AccountWords.sol";
import {Allocations} from "../libraries/Allocations.sol";
import {DealWord} from "../libraries/DealWords.sol";
import {Shares} from "../libraries/Shares.sol";
import {Ledger} from "./Ledger.sol";

/// @notice Brings what deals have accrued to their holders.
abstract contract Payouts is Ledger {
    /// @dev Gas that every pushed transfer gets: several times what the dearest tokens in use need.
    uint256 private constant PUSH_GAS = 300_000;

    /// @dev Gas that must be left before a push so that it gets all of `PUSH_GAS`: a call passes on 63/64 at most, and
    /// preparing it costs something.
    uint256 private constant PUSH_GAS_NEEDED = PUSH_GAS + PUSH_GAS / 63 + 3_000;

    mapping(address holder => address payee) private _payees;

    /// @inheritdoc IRoyalty
    function allocate(bytes calldata allocations) external nonReentrant {
        _allocateAll(allocations);
    }

    /// @inheritdoc IRoyalty
    function withdraw(address holder) external nonReentrant returns (uint256 amount) {
        (amount, ) = _payOut({holder: holder, before: _held()});
    }

    /// @inheritdoc IRoyalty
    function withdrawMany(address[] calldata holders) external nonReentrant {
        _pushAll(holders);
    }

    /// @inheritdoc IRoyalty
    function allocateAndPay(bytes calldata allocations, address[] calldata holders) external nonReentrant {
        _allocateAll(allocations);
        _pushAll(holders);
    }

    /// @inheritdoc IRoyalty
    function push(address holder, uint256 before) external returns (uint256 held) {
        // Check: the ledger alone calls this, under the guard of the function in which it does.
        if (msg.sender != address(this)) revert OnlySelf(msg.sender);
        (, held) = _payOut({holder: holder, before: before});
    }

    /// @inheritdoc IRoyalty
    function setPayee(address payee) external {
        // Check: zero clears; money must not be stuck anywhere else.
        if (payee != address(0)) _requireReachable(payee);
        // Effect: name it.
        _payees[msg.sender] = payee;
        Account storage account = _accounts[msg.sender];
        account.word = account.word.withPayee(payee != address(0));
        emit PayeeSet({holder: msg.sender, payee: payee});
    }

    /// @inheritdoc IRoyalty
    function balanceOfHolder(address holder) external view returns (uint256 nano) {
        return _accounts[holder].word.nano();
    }

    /// @inheritdoc IRoyalty
    function payeeOf(address holder) public view returns (address) {
        return _payeeOf(holder, _accounts[holder].word);
    }

    function _allocateAll(bytes calldata allocations) private {
        for (uint256 offset; offset < allocations.length;) {
            (uint48 dealId, bytes calldata split, uint256 next) = Allocations.groupAt(allocations, offset);
            _allocate(dealId, split);
            offset = next;
        }
    }

    /// @dev Divides what one deal has accrued; does nothing where that gives nobody anything.
    function _allocate(uint48 dealId, bytes calldata split) private {
        // Check: the deal, then that this is its split; whatever has its hash was checked when the deal was made.
        StoredDeal storage deal = _deals[dealId];
        _requireSplit(deal, dealId, split);
        // Effect: credit the holders, keep the remainder.
        DealWord word = deal.word;
        uint96 accrued = word.accrued();
        uint96 remainder = accrued - _creditAll(split, accrued);
        if (remainder == accrued) return;
        deal.word = word.withAccrued(remainder);
        emit Allocated(_catalogueOf(dealId), _versionOf(dealId), accrued, remainder);
    }

    /// @dev Credits every holder with its part; returns the sum, at most `accrued` since the shares sum to the whole.
    function _creditAll(bytes calldata split, uint96 accrued) private returns (uint96 credited) {
        // Offsets stay within the split; parts of `accrued` sum to at most that.
        unchecked {
            for (uint256 offset; offset < split.length; offset += Shares.ENTRY) {
                (address holder, uint256 ppm) = Shares.entryAt(split, offset);
                uint256 part = Shares.partOf(accrued, ppm);
                if (part == 0) continue;
                _credit(holder, part);
                credited += uint96(part);
            }
        }
    }

    function _credit(address holder, uint256 nano) private {
        Account storage account = _accounts[holder];
        account.word = account.word.plus(nano);
    }

    /// @dev Pays many, each in an isolated call; what the contract holds is carried from one to the next.
    function _pushAll(address[] calldata holders) private {
        uint256 held = _held();
        for (uint256 i; i < holders.length; ++i) {
            held = _push(holders[i], held);
        }
    }

    /// @dev A transfer that fails leaves everything as it was, what is held included. Its error is not even copied.
    function _push(address holder, uint256 before) private returns (uint256 held) {
        AccountWord word = _accounts[holder].word;
        (uint256 amount, ) = _toUnits(word.nano());
        if (amount == 0) return before;
        // Check: enough gas for a full stipend, or whoever calls could make others' payouts fail by sending little.
        if (gasleft() < PUSH_GAS_NEEDED) revert GasTooLow({needed: PUSH_GAS_NEEDED, available: gasleft()});
        // Interaction: with ourselves, so that all of it succeeds or none.
        try this.push{gas: PUSH_GAS}(holder, before) returns (uint256 left) {
            return left;
        } catch {
            emit PayoutSkipped({holder: holder, to: _payeeOf(holder, word), amount: amount});
            return before;
        }
    }

    /// @dev Sends a holder's money, `before` being what the ledger holds till then; returns what it holds after.
    function _payOut(address holder, uint256 before) private returns (uint256 amount, uint256 held) {
        // Check: there is something to send.
        Account storage account = _accounts[holder];
        AccountWord word = account.word;
        uint256 rest;
        (amount, rest) = _toUnits(word.nano());
        if (amount == 0) revert NothingPayable(holder);
        // Effect: debit the holder.
        account.word = word.withNano(rest);
        address to = _payeeOf(holder, word);
        emit Withdrawn({holder: holder, to: to, amount: amount});
        // Interaction: send it.
        held = _send({to: to, amount: amount, before: before});
    }

    function _payeeOf(address holder, AccountWord word) private view returns (address) {
        return word.hasPayee() ? _payees[holder] : holder;
    }
}
