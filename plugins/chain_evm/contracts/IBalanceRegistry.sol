// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Said} from "./IProofVerifier.sol";

/// @title Where models, proofs, verdicts and claims of Balance are ordered and agreed on an EVM chain
/// @notice The states are those of docs/chain-states.md, and are never conflated: only `Verified` means that the chain
/// itself checked a proof. Storage holds digests; what they are digests of is in the events.
/// @dev Words. A *registration* is the core's record; `registrationId` is its digest, which the registry computes itself
/// from the fields. A *model* is a registration of one owner: `model = keccak256(abi.encode(owner, registrationId))`, so
/// that nobody can squat or front-run it. `proofId` is the core's digest of (registrationId, inputsDigest, context). An
/// *answer* is a proofId under a model: `answer = keccak256(abi.encode(model, proofId))`; it counts once, whatever the
/// encoding of its proof. Every event that the core's reducer counts carries a `sequence`, counted from 1.
interface IBalanceRegistry {
    // ---------------------------------------------------------------- what goes in

    /// @dev The order is the core's; in JSON they are written ceremony, transparent, insecure-test.
    enum Trust {
        Ceremony,
        Transparent,
        InsecureTest
    }

    /// @notice The core's `Registration`, field by field; a digest of zero stands for null.
    /// @dev `name` and `backend` match [a-z0-9][a-z0-9._-]{0,63}; `backendVersion` is 1 to 256 bytes of printable ASCII
    /// without quotation mark and backslash, so that JSON has one form for it.
    struct Registration {
        string name;
        uint64 version;
        string backend;
        string backendVersion;
        bytes32 circuitId;
        bytes32 commitmentId;
        Trust trust;
        bytes32 parameters;
        /// The provider's Ed25519 key. The registry goes by addresses; readers compare it with `KeyBound`.
        bytes32 provider;
        /// The core's model_id; zero where the weights are private.
        bytes32 modelDigest;
        /// The registrationId of the version before, or zero.
        bytes32 previous;
    }

    /// @notice What an owner adds to a registration on this chain; fixed for the version, and covered by `commitment`.
    struct Terms {
        /// Whose model it is: the sender, or the account that a rotation hands the line to.
        address owner;
        /// The contract that checks its proofs; zero where none does yet, see `bindVerifier`.
        address verifier;
        /// The `key` that is handed to the verifier.
        bytes32 verifyingKey;
        /// The CID of the verifying key, or of the bundle that holds it; may be empty.
        string cid;
        /// Whose attestations count for `Attested`, without repetition; at most `MAX_VALIDATORS`.
        address[] validators;
        /// How many of them must say valid; zero if and only if there are none.
        uint32 quorum;
    }

    /// @notice A validator's word, signed as EIP-712 typed data in the domain ("BalanceRegistry", "1", chain, registry).
    struct Attestation {
        bytes32 model;
        bytes32 proofId;
        bytes32 statementDigest;
        bool valid;
    }

    /// @notice A proof as a verifier takes it; see `IProofVerifier.verify`.
    struct Evidence {
        bytes material;
        bytes proof;
        uint256[] publicValues;
    }

    /// @notice An answer that its owner stands behind with a bond instead of a proof.
    struct Claim {
        bytes32 model;
        Said said;
        /// Where the claimed statement can be read.
        string content;
        /// What the owner loses, in wei, if the claim is challenged and not answered; sent with the call.
        uint128 bond;
        /// What a challenger puts at stake, in wei: from 1 to `bond`.
        uint128 challengeBond;
        /// How long it can be challenged, in seconds: from 1 to `MAX_WINDOW`.
        uint32 challengeSeconds;
        /// How long a challenge can be answered, likewise.
        uint32 answerSeconds;
    }

    // ---------------------------------------------------------------- states

    enum Standing {
        Unknown,
        Proposed,
        Active,
        Superseded,
        Revoked
    }

    /// @dev `Attested` and `Disputed` are by the model's own validators; who trusts others reads the events.
    enum ProofStatus {
        Unknown,
        Submitted,
        Disputed,
        Attested,
        Verified
    }

    enum Verdict {
        None,
        Valid,
        Invalid,
        Equivocated
    }

    enum ClaimStatus {
        None,
        Claimed,
        Challenged,
        Answered,
        Slashed,
        FinalUnchallenged
    }

    struct ModelState {
        address owner;
        uint64 sequence;
        Standing standing;
        address verifier;
        uint64 version;
        uint32 quorum;
        /// The model that is the first version of its line.
        bytes32 line;
        bytes32 registrationId;
        /// Over registration (and so model_id, circuit_id, backend, setup trust), owner, verifier, verifying key, CID,
        /// validators and quorum, see `commitmentOf`. `bindVerifier` makes it
        /// keccak256(abi.encode(commitment, verifier, verifyingKey, keccak256(bytes(cid)))).
        bytes32 commitment;
        bytes32 verifyingKey;
    }

    struct ProofState {
        bytes32 statementDigest;
        uint64 sequence;
        bool verified;
        uint32 valid;
        uint32 invalid;
        /// keccak256(abi.encode(model, keccak256(proof), keccak256(abi.encodePacked(publicValues)))); zero unless verified.
        bytes32 proofKey;
    }

    struct ClaimState {
        bytes32 statementDigest;
        uint128 bond;
        uint128 challengeBond;
        address claimant;
        uint64 sequence;
        uint32 answerSeconds;
        address challenger;
        /// While `Claimed`: until when it can be challenged. While `Challenged`: until when it can be answered. An act
        /// is in time strictly before, and the claim can be settled from then on.
        uint64 deadline;
        ClaimStatus status;
    }

    // ---------------------------------------------------------------- events

    /// @notice An account says which Ed25519 key it writes for. The registry cannot check the signature; readers do.
    event KeyBound(address indexed account, bytes32 indexed key, bytes signature);
    /// @param standing `Active`, or `Proposed` where a line is offered to `terms.owner`.
    event Registered(
        uint64 sequence,
        bytes32 indexed model,
        bytes32 indexed registrationId,
        address indexed signer,
        Standing standing,
        Registration registration,
        Terms terms
    );
    event VerifierBound(
        bytes32 indexed model, address verifier, bytes32 verifyingKey, string cid, bytes32 commitment
    );
    event Revoked(uint64 sequence, bytes32 indexed model, address indexed signer, string reason);
    event ProofSubmitted(
        uint64 sequence,
        bytes32 indexed model,
        bytes32 indexed answer,
        bytes32 indexed proofId,
        address signer,
        Said said,
        string bundle,
        bytes attached
    );
    event ProofVerified(
        uint64 sequence, bytes32 indexed model, bytes32 indexed answer, bytes32 indexed proofId, bytes32 proofKey
    );
    event ProofAttested(
        uint64 sequence, bytes32 indexed answer, bytes32 indexed proofId, address indexed validator, Attestation word
    );
    event ClaimOpened(
        uint64 sequence,
        bytes32 indexed answer,
        bytes32 indexed proofId,
        address indexed claimant,
        Claim claim,
        uint64 challengeUntil
    );
    event ClaimChallenged(
        uint64 sequence, bytes32 indexed answer, address indexed challenger, uint64 answerUntil
    );
    event ClaimAnswered(uint64 sequence, bytes32 indexed answer, address signer);
    event ClaimSettled(
        uint64 sequence, bytes32 indexed answer, address signer, ClaimStatus status, uint256 burnt
    );
    event Withdrawn(uint64 sequence, address indexed account, address to, uint256 amount);

    // ---------------------------------------------------------------- errors

    /// @notice The same record by the same signer is on the chain already, as event `sequence`.
    error AlreadyRecorded(uint64 sequence);
    error UnknownModel(bytes32 model);
    error NotActive(bytes32 model, Standing standing);
    error NotOwner(bytes32 model, address account);
    error WrongVersion(uint64 expected, uint64 version);
    error NameTaken(address owner, string name);
    error WrongName(string name);
    error RevokedForever(bytes32 model);
    error CommitmentMismatch(bytes32 model);
    error BadText(string text);
    error BadCid(string cid);
    error BadTerms(string reason);
    error AlreadyBound(bytes32 model);
    error TooLarge(uint256 size, uint256 limit);
    error AnswerCountsOnce(bytes32 answer, uint64 sequence);
    error UnknownProof(bytes32 answer);
    error OtherStatement(bytes32 answer);
    error NoVerifier(bytes32 model);
    /// @notice The proof is valid, and says something else than what was submitted.
    error SaysOtherwise(Said said);
    /// @notice The verifier refused the proof, with this revert data.
    error ProofRefused(bytes reason);
    error VerifierOutOfGas();
    error BadSignature();
    error WrongPayment(uint256 expected, uint256 sent);
    error UnknownClaim(bytes32 answer);
    error WrongClaimStatus(bytes32 answer, ClaimStatus status);
    error TooLate(uint64 deadline);
    error TooEarly(uint64 deadline);
    error AlreadyProven(bytes32 answer);
    error NotOwed(address account, uint256 owed);
    error PaymentFailed(address to);

    // ---------------------------------------------------------------- models

    /// @notice Binds the sender to an Ed25519 key, for readers; `signature` is by that key over chain, registry and account.
    function bindKey(bytes32 key, bytes calldata signature) external;

    /// @notice Registers a first version, the next one, or a proposal; the proposed owner accepts by the same call.
    /// @dev First: `previous` is zero, `version` 1, `terms.owner` the sender, and the name not used by the sender.
    /// Next: `previous` is the sender's active version; the name is the same and the version one more. With another
    /// `terms.owner` the standing is `Proposed`, and becomes `Active` when that account makes the call with equal
    /// arguments. Exactly the rules of the core's reducer.
    function register(Registration calldata registration, Terms calldata terms) external returns (bytes32 model);

    /// @notice Names the verifier of a model that was registered without one; once, by its owner, while it is active.
    function bindVerifier(bytes32 model, address verifier, bytes32 verifyingKey, string calldata cid) external;

    /// @notice Withdraws a model: by the owner of its line's newest version, or, of a proposal, by the proposed owner.
    function revoke(bytes32 model, string calldata reason) external;

    // ---------------------------------------------------------------- proofs

    /// @notice Publishes the digests of a proof: `Submitted`, which says nothing about its validity.
    /// @param said What the proof is said to say. @param bundle The CID of the bundle. @param attached Up to `MAX_INLINE`
    /// bytes that are kept in the event.
    /// @dev By the owner, of an active model, or of any that was claimed under the same statement.
    function submit(bytes32 model, Said calldata said, string calldata bundle, bytes calldata attached)
        external
        returns (bytes32 answer);

    /// @notice Has a proof checked by the model's verifier: `Verified`. Submits it first if the owner has not.
    /// @dev Anybody may bring the proof of what was submitted. A challenged claim of the answer is answered by it, if in
    /// time.
    function verify(bytes32 model, Said calldata said, string calldata bundle, Evidence calldata evidence)
        external
        returns (bytes32 answer);

    /// @notice Records a validator's word; anybody may bring it. A contradiction makes the validator's verdict
    /// `Equivocated`, for good.
    function attest(Attestation calldata word, bytes calldata signature) external;

    /// @notice Returns who signed both words, which contradict each other; reverts if one hand did not sign both or they
    /// do not. Needs no state: the two signatures are the evidence.
    /// @dev A contradiction: the same answer and statement called valid and invalid, or two statements of one answer
    /// called valid.
    function equivocator(
        Attestation calldata one,
        bytes calldata oneSignature,
        Attestation calldata other,
        bytes calldata otherSignature
    ) external view returns (address validator);

    // ---------------------------------------------------------------- claims

    /// @notice Opens a claim with its bond: by the owner of an active model, once for each answer.
    /// @dev The model must have its verifier: one that is named after a challenge could be made to say yes.
    function claim(Claim calldata claim_) external payable returns (bytes32 answer);

    /// @notice Demands the proof of a claim, in time, with the challenger's bond.
    function challenge(bytes32 answer) external payable;

    /// @notice Closes a claim whose deadline has passed: `FinalUnchallenged`, or `Slashed` if it was challenged.
    function settle(bytes32 answer) external;

    /// @notice Pays out what the sender is owed, or a part of it, to an account of its choice.
    function withdraw(address payable to, uint128 amount) external;

    // ---------------------------------------------------------------- views

    function MAX_VALIDATORS() external view returns (uint256);
    function MAX_WINDOW() external view returns (uint256);
    function MAX_INLINE() external view returns (uint256);

    /// @notice The number of events that carry a sequence.
    function sequence() external view returns (uint64);
    function registrationIdOf(Registration calldata registration) external pure returns (bytes32);
    function modelOf(address owner, bytes32 registrationId) external pure returns (bytes32);
    function proofIdOf(bytes32 registrationId, bytes32 inputsDigest, bytes32 context) external pure returns (bytes32);
    function answerOf(bytes32 model, bytes32 proofId) external pure returns (bytes32);
    function commitmentOf(bytes32 registrationId, Terms calldata terms) external pure returns (bytes32);
    function modelState(bytes32 model) external view returns (ModelState memory);
    /// @notice The newest version in force of a line (named by the model that is its first version).
    function newest(bytes32 line) external view returns (bytes32 model);
    function isValidator(bytes32 model, address account) external view returns (bool);
    function proofState(bytes32 answer) external view returns (ProofState memory);
    function proofStatus(bytes32 model, bytes32 answer) external view returns (ProofStatus);
    function verdict(bytes32 answer, address validator) external view returns (Verdict);
    function claimState(bytes32 answer) external view returns (ClaimState memory);
    /// @notice What an account can withdraw, in wei.
    function owed(address account) external view returns (uint256);
}
