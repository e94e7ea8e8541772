// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {ERC721} from "solady/src/tokens/ERC721.sol";

import {Amendment, Deal, IRoyalty, Tariff} from "../interfaces/IRoyalty.sol";
import {DealWord, DealWords} from "../libraries/DealWords.sol";
import {Shares} from "../libraries/Shares.sol";
import {Ledger} from "./Ledger.sol";

/// @notice Keeps catalogues: who owns them, under which deals, with which works.
abstract contract Catalogues is Ledger, ERC721, EIP712 {
    /// @dev How many days ahead an amendment may start.
    uint256 private constant NOTICE_DAYS = 366;

    bytes32 private constant SHARE_TYPEHASH = keccak256("Share(address holder,uint32 ppm)");

    bytes32 private constant AMENDMENT_TYPEHASH = keccak256(
        "Amendment(uint32 catalogue,uint16 version,address producer,uint16 fromDay,uint40 viewPrice,"
        "uint40 downloadPrice,uint40 excerptPrice,Share[] split,uint256 deadline)"
        "Share(address holder,uint32 ppm)"
    );

    /// @inheritdoc IRoyalty
    uint32 public catalogues;

    constructor() EIP712("Royalty", "1") {}

    /// @inheritdoc IRoyalty
    function open(
        bytes calldata split,
        Tariff calldata tariff,
        uint16 fromDay,
        string calldata uri
    ) external returns (uint32 catalogue) {
        // Check: nothing was earned before the first deal, so it may start on any day that has begun.
        if (fromDay > _today()) revert DayOutOfRange({day: fromDay, earliest: 0, latest: _today()});
        bytes32 hash = _check(split);
        // Effect: number the catalogue, give it to the sender, store its first deal.
        catalogue = ++catalogues;
        _mintAndSetExtraDataUnchecked({to: msg.sender, id: catalogue, value: _pack({version: 1, works: 0})});
        _store({catalogue: catalogue, version: 1, tariff: tariff, fromDay: fromDay, hash: hash});
        emit CatalogueOpened({
            catalogue: catalogue,
            version: 1,
            owner: msg.sender,
            fromDay: fromDay,
            tariff: tariff,
            split: split,
            uri: uri
        });
    }

    /// @inheritdoc IRoyalty
    function amend(
        Amendment calldata amendment,
        bytes calldata currentSplit,
        bytes calldata newSplit,
        bytes[] calldata signatures,
        string calldata uri
    ) external returns (uint16 version) {
        uint32 catalogue = amendment.catalogue;
        (uint16 replaced, uint24 works) = _ownedBySender(catalogue);
        // Check: the amendment itself, then every signature, all before any change of state.
        _checkAmendment(amendment, replaced);
        StoredDeal storage current = _deals[_dealId(catalogue, replaced)];
        _requireSplit(current, _dealId(catalogue, replaced), currentSplit);
        bytes32 hash = _check(newSplit);
        _checkConsents(amendment, replaced, currentSplit, newSplit, signatures);
        // Effect: end the deal that is replaced, store the new one.
        if (replaced == type(uint16).max) revert CatalogueFull(catalogue);
        version = replaced + 1;
        current.word = current.word.endOn(amendment.fromDay);
        _setExtraData({id: catalogue, value: _pack({version: version, works: works})});
        _store(catalogue, version, amendment.tariff, amendment.fromDay, hash);
        emit DealAmended(catalogue, version, msg.sender, amendment.fromDay, amendment.tariff, newSplit, uri);
    }

    /// @inheritdoc IRoyalty
    function register(
        uint32 catalogue,
        bytes32[] calldata fingerprints,
        bytes32 metadataDigest,
        string calldata uri
    ) external returns (uint24 firstIndex) {
        // Check: the owner registers, there is something to register, there are numbers left for it.
        uint16 version;
        (version, firstIndex) = _ownedBySender(catalogue);
        if (fingerprints.length == 0) revert NothingToRegister();
        uint256 works = firstIndex + fingerprints.length;
        if (works > type(uint24).max) revert CatalogueFull(catalogue);
        // Effect: count the works; the fingerprints themselves stand in the event.
        _setExtraData({id: catalogue, value: _pack({version: version, works: uint24(works)})});
        emit WorksRegistered(catalogue, firstIndex, msg.sender, fingerprints, metadataDigest, uri);
    }

    /// @inheritdoc IRoyalty
    function catalogueOf(
        uint32 catalogue
    ) external view returns (address owner, uint16 version, uint24 works) {
        owner = _ownerOf(catalogue);
        (version, works) = _unpack(catalogue);
    }

    /// @inheritdoc IRoyalty
    function dealOf(uint32 catalogue, uint16 version) external view returns (Deal memory deal, bytes32 hash) {
        StoredDeal storage stored = _deals[_dealId(catalogue, version)];
        return (stored.word.unpack(), stored.splitHash);
    }

    /// @inheritdoc IRoyalty
    function versionOn(uint32 catalogue, uint16 day) external view returns (uint16 version) {
        return _versionOn(catalogue, day);
    }

    /// @inheritdoc IRoyalty
    function splitHash(bytes calldata split) external view returns (bytes32) {
        return _check(split);
    }

    /// @inheritdoc IRoyalty
    function amendmentDigest(
        Amendment calldata amendment,
        bytes calldata newSplit
    ) external view returns (bytes32) {
        address producer = _ownerOf(amendment.catalogue);
        if (producer == address(0)) revert CatalogueUnknown(amendment.catalogue);
        _check(newSplit);
        (uint16 replaced, ) = _unpack(amendment.catalogue);
        return _digest(amendment, replaced, producer, newSplit);
    }

    /// @inheritdoc ERC721
    function transferFrom(address from, address to, uint256 id) public payable override {
        _refuseValue();
        super.transferFrom(from, to, id);
    }

    /// @inheritdoc ERC721
    function approve(address account, uint256 id) public payable override {
        _refuseValue();
        super.approve(account, id);
    }

    /// @inheritdoc ERC721
    /// @dev Empty: what describes a catalogue stands in its events.
    function tokenURI(uint256 id) public view override returns (string memory) {
        ownerOf(id);
        return "";
    }

    /// @inheritdoc ERC721
    function name() public pure override returns (string memory) {
        return "Royalty Catalogue";
    }

    /// @inheritdoc ERC721
    function symbol() public pure override returns (string memory) {
        return "ROYALTY";
    }

    /// @dev The version in force on a day, 0 if there is none. Versions start on strictly later days, and only the
    /// newest can lie ahead: for today this reads two deals at most.
    function _versionOn(uint32 catalogue, uint256 day) internal view returns (uint16 version) {
        (version, ) = _unpack(catalogue);
        while (version != 0 && _deals[_dealId(catalogue, version)].word.fromDay() > day) --version;
    }

    function _store(
        uint32 catalogue,
        uint16 version,
        Tariff calldata tariff,
        uint16 fromDay,
        bytes32 hash
    ) private {
        _deals[_dealId(catalogue, version)] = StoredDeal({
            word: DealWords.make({tariff: tariff, startDay: fromDay}),
            splitHash: hash
        });
    }

    /// @dev Nothing here takes ether, though the token standard's library would.
    function _refuseValue() private view {
        if (msg.value != 0) revert ValueRefused(msg.value);
    }

    /// @dev Refuses what is not a valid split.
    function _check(bytes calldata split) private view returns (bytes32 hash) {
        return Shares.check({split: split, ledger: address(this), token: token()});
    }

    /// @dev Refuses everybody but the owner: an operator that the owner approved may move the token, not the deal.
    function _ownedBySender(uint32 catalogue) private view returns (uint16 version, uint24 works) {
        address owner = _ownerOf(catalogue);
        if (owner == address(0)) revert CatalogueUnknown(catalogue);
        if (owner != msg.sender)
            revert NotCatalogueOwner({catalogue: catalogue, sender: msg.sender, owner: owner});
        return _unpack(catalogue);
    }

    /// @dev Refuses an amendment that comes too late, too early, or while another waits.
    function _checkAmendment(Amendment calldata amendment, uint16 replaced) private view {
        uint256 today = _today();
        if (block.timestamp > amendment.deadline) revert DeadlinePassed(amendment.deadline, block.timestamp);
        uint16 replacedFrom = _deals[_dealId(amendment.catalogue, replaced)].word.fromDay();
        if (replacedFrom > today) revert AmendmentPending(amendment.catalogue, replaced, replacedFrom);
        if (amendment.fromDay <= today || amendment.fromDay > today + NOTICE_DAYS) {
            revert DayOutOfRange({day: amendment.fromDay, earliest: today + 1, latest: today + NOTICE_DAYS});
        }
    }

    /// @dev Walks the holders of the current split, who stand in the order of their addresses as those of the new one
    /// do, for the signature of each who has something to lose.
    function _checkConsents(
        Amendment calldata amendment,
        uint16 replaced,
        bytes calldata currentSplit,
        bytes calldata newSplit,
        bytes[] calldata signatures
    ) private view {
        uint256 holders = Shares.count(currentSplit);
        if (signatures.length != holders)
            revert SignatureCount({expected: holders, given: signatures.length});
        bool cheaper = _anyPriceFalls(_deals[_dealId(amendment.catalogue, replaced)].word, amendment.tariff);
        bytes32 digest = _digest(amendment, replaced, msg.sender, newSplit);
        uint256 position;
        for (uint256 i; i < holders; ++i) {
            (address holder, uint256 ppm) = Shares.at(currentSplit, i);
            uint256 newPpm;
            (newPpm, position) = _shareFrom(newSplit, position, holder);
            if (!cheaper && newPpm >= ppm) continue;
            if (holder != msg.sender && !_signed(holder, digest, signatures[i]))
                revert ConsentMissing(holder);
        }
    }

    /// @dev ECDSA first: an account with code (EIP-7702) may sign with its key, a contract signs by ERC-1271.
    function _signed(address holder, bytes32 digest, bytes calldata signature) private view returns (bool) {
        (address signer, ECDSA.RecoverError failure, ) = ECDSA.tryRecoverCalldata(digest, signature);
        if (failure == ECDSA.RecoverError.NoError && signer == holder) return true;
        return
            holder.code.length != 0 &&
            SignatureChecker.isValidERC1271SignatureNowCalldata(holder, digest, signature);
    }

    /// @dev The EIP-712 digest of an amendment.
    function _digest(
        Amendment calldata amendment,
        uint16 replaced,
        address producer,
        bytes calldata newSplit
    ) private view returns (bytes32) {
        return
            _hashTypedDataV4(
                keccak256(
                    abi.encode(
                        AMENDMENT_TYPEHASH,
                        amendment.catalogue,
                        replaced,
                        producer,
                        amendment.fromDay,
                        amendment.tariff,
                        _hashShares(newSplit),
                        amendment.deadline
                    )
                )
            );
    }

    function _unpack(uint32 catalogue) private view returns (uint16 version, uint24 works) {
        uint96 extra = _getExtraData(catalogue);
        version = uint16(extra);
        works = uint24(extra >> 16);
    }

    /// @dev What stands beside the owner: the newest version in the low 16 bits, the number of works above.
    function _pack(uint16 version, uint24 works) private pure returns (uint96) {
        return (uint96(works) << 16) | version;
    }

    function _anyPriceFalls(DealWord deal, Tariff calldata tariff) private pure returns (bool) {
        return
            tariff.viewPrice < deal.price(0) ||
            tariff.downloadPrice < deal.price(1) ||
            tariff.excerptPrice < deal.price(2);
    }

    /// @dev A holder's share in a split, 0 if it has none, searched from a position on; also where to search next.
    function _shareFrom(
        bytes calldata split,
        uint256 position,
        address holder
    ) private pure returns (uint256 ppm, uint256 next) {
        uint256 holders = split.length / Shares.ENTRY;
        for (next = position; next < holders; ++next) {
            (address found, uint256 share) = Shares.at(split, next);
            if (found == holder) return (share, next + 1);
            if (found > holder) break;
        }
    }

    /// @dev EIP-712 hash of a split as `Share[]`.
    function _hashShares(bytes calldata split) private pure returns (bytes32) {
        uint256 holders = Shares.count(split);
        bytes32[] memory hashes = new bytes32[](holders);
        for (uint256 i; i < holders; ++i) {
            (address holder, uint256 ppm) = Shares.at(split, i);
            hashes[i] = keccak256(abi.encode(SHARE_TYPEHASH, holder, ppm));
        }
        return keccak256(abi.encodePacked(hashes));
    }
}
