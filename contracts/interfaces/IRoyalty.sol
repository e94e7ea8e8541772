// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;

/// @notice Why a leaf of a tally is void: the first fault in the order in which it is read.
enum LeafFault {
    None,
    Malformed,
    DealUnknown,
    KindUnknown,
    DayAfterTally,
    DealNotInForce,
    AmountMismatch
}

/// @notice Prices of one deal, each in nano-tokens (1e-9 token) per unit; 0 means that this kind is free.
struct Tariff {
    uint40 viewPrice;
    uint40 downloadPrice;
    uint40 excerptPrice;
}

/// @notice One version of a catalogue's split and tariff; fills exactly one storage slot.
/// @dev `accrued` is in nano-tokens. Days count from 1970-01-01 UTC; `fromDay` is inclusive, `untilDay` exclusive,
/// 0 meaning open.
struct Deal {
    uint96 accrued;
    uint40 viewPrice;
    uint40 downloadPrice;
    uint40 excerptPrice;
    uint16 fromDay;
    uint16 untilDay;
    bool exists;
}

/// @notice What the contract keeps of a platform; fills exactly one storage slot.
/// @dev `funds` in nano-tokens; `limit` and `spent` in micro-tokens (1e-6 token), `spent` being that of `spentDay`.
struct Platform {
    uint96 funds;
    uint32 batches;
    uint56 limit;
    uint56 spent;
    uint16 spentDay;
}

/// @notice What the contract keeps of a tally beside its root; fills exactly one storage slot.
/// @dev `total` and `settled` in nano-tokens; `settled` is what has left the tally, to deals or back to the platform.
struct Tally {
    uint96 total;
    uint96 settled;
    uint24 leaves;
    uint24 settledLeaves;
    uint16 day;
}

/// @notice A proposal to replace a catalogue's newest deal from `fromDay` on.
/// @dev The catalogue's owner and the version that is replaced are part of what holders sign, see `amendmentDigest`.
struct Amendment {
    uint32 catalogue;
    uint16 fromDay;
    Tariff tariff;
    uint256 deadline;
}

/// @notice Public face of the ledger that registers catalogues of works and pays their rights holders per usage.
/// @dev Packed encodings (big-endian, no padding), exact in docs/protocol.md:
/// split       24 bytes a holder: address (20), share in ppm uint32 (4); ascending by address; sum 1,000,000
/// usage       groups of: catalogue uint32 (4), version uint16 (2), kind uint8 (1; 0 view, 1 download, 2 excerpt
///             second), count uint16 (2), then count pairs of index uint24 (3), units uint24 (3)
/// allocations groups of: catalogue uint32 (4), version uint16 (2), holders uint16 (2), then the deal's split
/// leaf        catalogue uint32 (4), version uint16 (2), then groups of: day uint16 (2), kind uint8 (1), count uint16
///             (2), then count pairs of index uint24 (3), units uint24 (3)
/// leaves      of each: length of the leaf uint24 (3), amount in nano-tokens uint96 (12), the leaf
/// proof       44 bytes a node: hash (32), sum in nano-tokens uint96 (12)
/// Hashes of a tally's tree: of a leaf keccak256(0x00, amount, leaf); of a node keccak256(0x01, left hash, left sum,
/// right hash, right sum), its sum being that of both. The last node of a level is carried up where it has no partner.
interface IRoyalty {
    // --- Events ---

    /// @notice The ledger was made for one token.
    event Deployed(address indexed token, uint8 decimals);
    /// @notice A catalogue was opened with its first deal.
    event CatalogueOpened(
        uint32 indexed catalogue,
        uint16 version,
        address indexed owner,
        uint16 fromDay,
        Tariff tariff,
        bytes split,
        string uri
    );
    /// @notice A catalogue's deal was replaced from `fromDay` on; the version before it ends on that day.
    event DealAmended(
        uint32 indexed catalogue,
        uint16 version,
        address indexed owner,
        uint16 fromDay,
        Tariff tariff,
        bytes split,
        string uri
    );
    /// @notice Works were registered, numbered from `firstIndex` in the order of their fingerprints.
    event WorksRegistered(
        uint32 indexed catalogue,
        uint24 firstIndex,
        address indexed registrant,
        bytes32[] fingerprints,
        bytes32 metadataDigest,
        string uri
    );
    /// @notice A platform's funds rose by `nano` nano-tokens.
    event Deposited(address indexed platform, address indexed payer, uint96 nano);
    /// @notice A platform took `nano` nano-tokens of its unreported funds back.
    event FundsWithdrawn(address indexed platform, address indexed to, uint96 nano);
    /// @notice A key was allowed to report for a platform, or no longer is.
    event ReporterSet(address indexed platform, address indexed reporter, bool allowed);
    /// @notice What a platform's reporters may spend in a UTC day together was set, in micro-tokens.
    event LimitSet(address indexed platform, uint56 limit);
    /// @notice A holder named where its money goes; zero means to the holder itself.
    event PayeeSet(address indexed holder, address indexed payee);
    /// @notice Usage of one day was reported and paid; `total` in nano-tokens.
    event UsageReported(
        address indexed platform,
        uint32 indexed batch,
        uint16 day,
        address sender,
        bytes32 evidence,
        uint96 total,
        bytes usage
    );
    /// @notice A tally was posted and debited in full; `total` in nano-tokens, `day` the last day of its usage.
    event TallyPosted(
        address indexed platform,
        uint32 indexed batch,
        address sender,
        bytes32 root,
        uint24 leaves,
        uint96 total,
        uint16 day,
        bytes32 evidence,
        bytes32 dataDigest,
        string uri
    );
    /// @notice A leaf of a tally was paid into its deal, in nano-tokens.
    event LeafSettled(
        address indexed platform,
        uint32 indexed batch,
        uint24 index,
        bytes leaf,
        uint96 amount
    );
    /// @notice A leaf that cannot be paid was closed; its amount went back to the platform.
    event LeafVoid(
        address indexed platform,
        uint32 indexed batch,
        uint24 index,
        bytes leaf,
        uint96 amount,
        LeafFault reason
    );
    /// @notice A node under which no leaf can ever be proven was closed; its amount went back to the platform.
    /// @dev Level 0 are the leaves; those under the node are `index << level` to before `index + 1 << level`.
    event NodeVoid(address indexed platform, uint32 indexed batch, uint8 level, uint24 index, uint96 amount);
    /// @notice Money that is not metered was paid into a deal, in nano-tokens.
    event Paid(
        uint32 indexed catalogue,
        uint16 version,
        address indexed payer,
        uint96 nano,
        bytes32 reason,
        bytes32 memo
    );
    /// @notice What a deal had accrued was divided; each holder was credited floor(accruedBefore * ppm / 1e6).
    event Allocated(uint32 indexed catalogue, uint16 version, uint96 accruedBefore, uint96 remainder);
    /// @notice A holder's money left the ledger; `amount` in the token's smallest unit.
    event Withdrawn(address indexed holder, address indexed to, uint256 amount);
    /// @notice A pushed transfer failed; the holder keeps the balance. `amount` in the token's smallest unit.
    event PayoutSkipped(address indexed holder, address indexed to, uint256 amount);

    // --- Errors: deployment and amounts ---

    /// @notice Thrown when the token's decimals are above 27 or cannot be read.
    error DecimalsUnsupported(uint256 decimals);
    /// @notice Thrown when an amount is not a whole number of nano-tokens; `multiple` is what it must be a multiple of.
    error AmountNotWholeNano(uint256 amount, uint256 multiple);
    /// @notice Thrown when an amount of nano-tokens does not fit the 96 bits that the ledger keeps.
    error AmountTooLarge(uint256 nano);
    /// @notice Thrown when nothing is to be moved.
    error ZeroAmount();
    /// @notice Thrown when the token did not move exactly the amount asked for (a fee on transfer, a false promise).
    error TransferNotExact(uint256 expected, uint256 moved);
    /// @notice Thrown when the ledger, the token or the zero address is named where money would be stuck there.
    error AddressRefused(address account);
    /// @notice Thrown when ether is sent along; nothing here takes any.
    error ValueRefused(uint256 value);

    // --- Errors: catalogues ---

    /// @notice Thrown when a split's length is not 1 to 256 times 24 bytes.
    error SplitLength(uint256 length);
    /// @notice Thrown when holders are not strictly ascending by address; `position` counts from 0.
    error SplitOrder(uint256 position, address holder);
    /// @notice Thrown when a holder has a share of zero.
    error ShareZero(uint256 position, address holder);
    /// @notice Thrown when shares do not sum to exactly 1,000,000 ppm.
    error ShareSum(uint256 sum);
    /// @notice Thrown when the split given is not the one that the deal was made with.
    error SplitMismatch(uint32 catalogue, uint16 version, bytes32 expected, bytes32 given);
    /// @notice Thrown when a day lies outside what is allowed here (both bounds inclusive).
    error DayOutOfRange(uint256 day, uint256 earliest, uint256 latest);
    /// @notice Thrown when there is no such catalogue.
    error CatalogueUnknown(uint32 catalogue);
    /// @notice Thrown when there is no such deal.
    error DealUnknown(uint32 catalogue, uint16 version);
    /// @notice Thrown when the sender is not the catalogue's owner.
    error NotCatalogueOwner(uint32 catalogue, address sender, address owner);
    /// @notice Thrown when an amendment that is not in force yet already waits.
    error AmendmentPending(uint32 catalogue, uint16 version, uint16 fromDay);
    /// @notice Thrown when an amendment's deadline has passed.
    error DeadlinePassed(uint256 deadline, uint256 time);
    /// @notice Thrown when the number of signatures is not that of the holders of the deal that is replaced.
    error SignatureCount(uint256 expected, uint256 given);
    /// @notice Thrown when a holder whose consent is needed has not signed this very amendment.
    error ConsentMissing(address holder);
    /// @notice Thrown when no work is given to register.
    error NothingToRegister();
    /// @notice Thrown when a catalogue would hold more works or versions than its counters can number.
    error CatalogueFull(uint32 catalogue);

    // --- Errors: usage ---

    /// @notice Thrown when the sender is neither the platform nor one of its reporters.
    error NotReporter(address platform, address sender);
    /// @notice Thrown when the batch is not the platform's next number.
    error BatchNotNext(uint32 expected, uint32 given);
    /// @notice Thrown when a report's day is later than the block's own UTC day.
    error DayInFuture(uint256 day, uint256 today);
    /// @notice Thrown when a deal is not in force on the day of the usage.
    error DealNotInForce(uint32 catalogue, uint16 version, uint256 day, uint16 fromDay, uint16 untilDay);
    /// @notice Thrown when a group's kind is not 0, 1 or 2.
    error KindUnknown(uint256 kind);
    /// @notice Thrown when usage or allocations end inside a group, when a group is empty, or when usage has none.
    error GroupMalformed(uint256 offset, uint256 length);
    /// @notice Thrown when the total given is not what the contract computes, in nano-tokens.
    error TotalMismatch(uint256 computed, uint256 given);
    /// @notice Thrown when a platform's funds do not suffice, in nano-tokens.
    error FundsInsufficient(address platform, uint256 needed, uint256 available);
    /// @notice Thrown when a reporter would spend more than the platform's limit of the day, in micro-tokens.
    error LimitExceeded(address platform, uint256 needed, uint256 left);

    // --- Errors: tallies ---

    /// @notice Thrown when a tally has no leaf.
    error TallyEmpty();
    /// @notice Thrown when there is no such tally.
    error TallyUnknown(address platform, uint32 batch);
    /// @notice Thrown when a place lies outside the tree, or holds a node that was carried up from below.
    error PlaceUnknown(uint256 level, uint256 index, uint256 leaves);
    /// @notice Thrown when leaves are cut or there are none.
    error LeavesMalformed(uint256 offset, uint256 length);
    /// @notice Thrown when a proof is not as long as the place needs, in bytes.
    error ProofLength(uint256 needed, uint256 given);
    /// @notice Thrown when a proof leads to another root or total than the tally's.
    error ProofMismatch(bytes32 root, uint256 total);
    /// @notice Thrown when a node that is claimed to be broken is not, or has been closed already.
    error NodeNotBroken(uint256 level, uint256 index);
    /// @notice Thrown when more would leave a tally than was debited for it, in nano-tokens.
    error TallyExceeded(uint256 settled, uint256 total);

    // --- Errors: payouts ---

    /// @notice Thrown when a holder has less than the token's smallest unit to withdraw.
    error NothingPayable(address holder);
    /// @notice Thrown when too little gas is left to give a pushed transfer its full stipend.
    error GasTooLow(uint256 needed, uint256 available);
    /// @notice Thrown when a function that only the ledger may call on itself is called from elsewhere.
    error OnlySelf(address sender);

    // --- Catalogues ---

    /// @notice Opens a catalogue owned by the sender, its first deal (version 1) in force from `fromDay`.
    /// @param split Packed split, see above.
    /// @param tariff Prices in nano-tokens.
    /// @param fromDay Any day up to today.
    /// @param uri Where the deal's metadata lie; kept in the event only.
    function open(
        bytes calldata split,
        Tariff calldata tariff,
        uint16 fromDay,
        string calldata uri
    ) external returns (uint32 catalogue);

    /// @notice Replaces the catalogue's newest deal from `amendment.fromDay` (1 to 366 days ahead) on.
    /// @dev Needs the signature of every holder whose share falls or ends, and of every holder where a price falls;
    /// the owner's own transaction is its consent. ECDSA is tried before ERC-1271.
    /// @param amendment Catalogue, day, prices and deadline.
    /// @param currentSplit Packed split of the version that is replaced.
    /// @param newSplit Packed split of the new version.
    /// @param signatures One for each holder of `currentSplit`, in its order; empty where there is none.
    /// @param uri Where the deal's metadata lie; kept in the event only.
    function amend(
        Amendment calldata amendment,
        bytes calldata currentSplit,
        bytes calldata newSplit,
        bytes[] calldata signatures,
        string calldata uri
    ) external returns (uint16 version);

    /// @notice Registers works by the fingerprints of their files; only the catalogue's owner.
    /// @param metadataDigest SHA-256 of the works' metadata, one JSON document.
    /// @param uri Where that document lies; kept in the event only.
    function register(
        uint32 catalogue,
        bytes32[] calldata fingerprints,
        bytes32 metadataDigest,
        string calldata uri
    ) external returns (uint24 firstIndex);

    // --- Platforms ---

    /// @notice Pulls `amount` (the token's smallest unit) from the sender into a platform's funds.
    function deposit(address platform, uint256 amount) external;

    /// @notice Sends `amount` (the token's smallest unit) of the sender's unreported funds to `to`.
    function withdrawFunds(uint256 amount, address to) external;

    /// @notice Lets a key report for the sender, or no longer.
    function setReporter(address reporter, bool allowed) external;

    /// @notice Sets what the sender's reporters may spend together in a UTC day, in micro-tokens.
    function setLimit(uint56 limit) external;

    // --- Usage ---

    /// @notice Reports usage of one day and pays it into the deals at once.
    /// @param batch The platform's next number: batches landed so far plus one.
    /// @param day UTC day of the usage, at most today.
    /// @param evidence SHA-256 of the manifest that the counts come from.
    /// @param total Price of it all in nano-tokens; must equal what the contract computes.
    /// @param usage Packed usage, see above.
    function report(
        address platform,
        uint32 batch,
        uint16 day,
        bytes32 evidence,
        uint96 total,
        bytes calldata usage
    ) external;

    /// @notice Pulls `amount` (the token's smallest unit) from the sender into the catalogue's deal of today.
    function pay(uint32 catalogue, uint256 amount, bytes32 reason, bytes32 memo) external;

    // --- Tallies ---

    /// @notice Reports usage by the root of a Merkle-sum tree, one deal a leaf; debits all of it at once.
    /// @param batch The platform's next number, which reports and tallies share.
    /// @param day Last UTC day of the usage, at most today.
    /// @param root Hash of the tree's root; its sum is `total`.
    /// @param leaves Number of leaves, at least 1.
    /// @param total Price of it all in nano-tokens.
    /// @param evidence SHA-256 of the manifest that the counts come from.
    /// @param dataDigest SHA-256 of the data that the tree is made of.
    /// @param uri Where those lie; kept in the event only.
    function post(
        address platform,
        uint32 batch,
        uint16 day,
        bytes32 root,
        uint24 leaves,
        uint96 total,
        bytes32 evidence,
        bytes32 dataDigest,
        string calldata uri
    ) external;

    /// @notice Pays neighbouring leaves of a tally into their deals; anyone may call.
    /// @dev Leaves already settled are skipped; the amount of those that cannot be paid goes back to the platform.
    /// @param first Index of the first leaf.
    /// @param leaves Packed leaves, see above.
    /// @param proof From the leaves' level up: the left neighbour where there is one, then the right one, packed.
    function settle(
        address platform,
        uint32 batch,
        uint24 first,
        bytes calldata leaves,
        bytes calldata proof
    ) external;

    /// @notice Returns the amount of a node to the platform where its own preimage shows that no leaf under it can ever
    /// be proven; anyone may call.
    /// @param level Level of the node, 0 being the leaves, the lowest if it was carried up.
    /// @param sum The sum that its parent commits to for it, the tally's total for the root.
    /// @param preimage What hashes to the node.
    /// @param proof As for `settle`, from the node's level up.
    function closeNode(
        address platform,
        uint32 batch,
        uint8 level,
        uint24 index,
        uint96 sum,
        bytes calldata preimage,
        bytes calldata proof
    ) external;

    // --- Payouts ---

    /// @notice Divides what deals have accrued among their holders' balances; anyone may call.
    /// @dev Each holder gets floor(accrued * ppm / 1e6); the remainder, under one nano-token a holder, stays accrued.
    function allocate(bytes calldata allocations) external;

    /// @notice Sends everything a holder has to the holder or its payee, rounded down to the token's smallest unit
    /// (the rest stays in the holder's balance); anyone may call.
    /// @return amount What was sent, in the token's smallest unit.
    function withdraw(address holder) external returns (uint256 amount);

    /// @notice Withdraws for many: a transfer that fails is skipped, who has nothing payable is passed over.
    function withdrawMany(address[] calldata holders) external;

    /// @notice Allocates, then withdraws for many.
    function allocateAndPay(bytes calldata allocations, address[] calldata holders) external;

    /// @notice One pushed transfer, which the ledger calls on itself so that all of it succeeds or none; reverts for
    /// everybody else.
    /// @param before What the ledger holds of the token before, in its smallest unit.
    /// @return held What it holds after.
    function push(address holder, uint256 before) external returns (uint256 held);

    /// @notice Names where the sender's money goes; zero clears it.
    function setPayee(address payee) external;

    // --- Views ---

    /// @notice The settlement token.
    function token() external view returns (address);

    /// @notice The token's decimals, read once when the ledger was made.
    function tokenDecimals() external view returns (uint8);

    /// @notice Catalogues opened so far; they are numbered from 1.
    function catalogues() external view returns (uint32);

    /// @notice A catalogue's owner, newest version and number of works registered.
    function catalogueOf(
        uint32 catalogue
    ) external view returns (address owner, uint16 version, uint24 works);

    /// @notice A deal and the hash of its split; all zero where it does not exist.
    function dealOf(
        uint32 catalogue,
        uint16 version
    ) external view returns (Deal memory deal, bytes32 splitHash);

    /// @notice The version in force on a day, 0 if there is none.
    function versionOn(uint32 catalogue, uint16 day) external view returns (uint16 version);

    /// @notice What the contract keeps of a platform; its next batch is `batches + 1`.
    function platformOf(address platform) external view returns (Platform memory);

    /// @notice Whether a key may report for a platform.
    function isReporter(address platform, address reporter) external view returns (bool);

    /// @notice What the contract keeps of a tally; all zero where there is none.
    function tallyOf(address platform, uint32 batch) external view returns (Tally memory tally, bytes32 root);

    /// @notice Whether a leaf of a tally has been settled, paid or void. Leaves under a void node never are.
    function isSettled(address platform, uint32 batch, uint24 index) external view returns (bool);

    /// @notice A holder's allocated money, in nano-tokens.
    function balanceOfHolder(address holder) external view returns (uint256 nano);

    /// @notice Where a holder's money goes: its payee, or itself.
    function payeeOf(address holder) external view returns (address);

    /// @notice The hash that the ledger keeps of a split; reverts where the split is not valid.
    function splitHash(bytes calldata split) external view returns (bytes32);

    /// @notice The EIP-712 digest that holders sign to consent to an amendment, as things stand now.
    function amendmentDigest(
        Amendment calldata amendment,
        bytes calldata newSplit
    ) external view returns (bytes32);

    /// @notice Packed usage in readable form, one entry a pair.
    function decodeUsage(
        bytes calldata usage
    )
        external
        pure
        returns (
            uint32[] memory catalogueIds,
            uint16[] memory versions,
            uint8[] memory kinds,
            uint24[] memory indexes,
            uint24[] memory units
        );
}
