// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {CoreDigest} from "./CoreDigest.sol";
import {IBalanceRegistry} from "./IBalanceRegistry.sol";
import {IProofVerifier, Said} from "./IProofVerifier.sol";
import {RegistrationText} from "./RegistrationText.sol";

/// @title The registry of Balance; `IBalanceRegistry` says what it promises
/// @dev It has no owner, no upgrade and no pause: nobody can change what it says, and nobody can hold up what it owes.
contract BalanceRegistry is IBalanceRegistry, EIP712, ReentrancyGuard {
    uint256 public constant MAX_VALIDATORS = 64;
    uint256 public constant MAX_WINDOW = 90 days;
    uint256 public constant MAX_INLINE = 32 * 1024;
    uint256 private constant MAX_REASON = 1000;

    /// @dev Who is owed what is burnt: no sender has this address, so that it is never withdrawn.
    address private constant NOBODY = address(0);

    bytes32 private constant ATTESTATION = keccak256(
        "Attestation(bytes32 model,bytes32 proofId,bytes32 statementDigest,bool valid)"
    );

    struct VerdictState {
        Verdict verdict;
        uint64 sequence;
    }

    uint64 public sequence;
    mapping(bytes32 model => ModelState) private _models;
    mapping(bytes32 line => bytes32 model) public newest;
    mapping(address owner => mapping(bytes32 name => bytes32 line)) private _names;
    mapping(bytes32 model => mapping(address account => bool)) public isValidator;
    mapping(bytes32 answer => ProofState) private _proofs;
    mapping(bytes32 answer => mapping(address validator => VerdictState)) private _verdicts;
    mapping(bytes32 answer => ClaimState) private _claims;
    mapping(address account => uint256) public owed;

    constructor() EIP712("BalanceRegistry", "1") {}

    // ---------------------------------------------------------------- models

    /// @inheritdoc IBalanceRegistry
    function bindKey(bytes32 key, bytes calldata signature) external {
        emit KeyBound(msg.sender, key, signature);
    }

    /// @inheritdoc IBalanceRegistry
    function register(Registration calldata registration, Terms calldata terms) external returns (bytes32 model) {
        bytes32 id = RegistrationText.digest(registration);
        model = modelOf(terms.owner, id);
        ModelState storage m = _models[model];
        bytes32 name = keccak256(bytes(registration.name));
        if (m.standing == Standing.Unknown) {
            m.line = registration.previous == 0
                ? _checkFirst(registration, terms, name, model)
                : _checkNext(registration, terms, name);
            m.owner = terms.owner;
            m.version = registration.version;
            m.registrationId = id;
            _keepTerms(model, m, terms);
            m.standing = terms.owner == msg.sender ? Standing.Active : Standing.Proposed;
        } else {
            _checkAccepted(model, m, registration, terms, name);
            m.standing = Standing.Active;
        }
        if (m.standing == Standing.Active) {
            bytes32 before = newest[m.line];
            if (before != 0) _models[before].standing = Standing.Superseded;
            newest[m.line] = model;
            _names[msg.sender][name] = m.line;
        }
        m.sequence = _count();
        emit Registered(m.sequence, model, id, msg.sender, m.standing, registration, terms);
    }

    /// @inheritdoc IBalanceRegistry
    function bindVerifier(bytes32 model, address verifier, bytes32 verifyingKey, string calldata cid) external {
        ModelState storage m = _active(model);
        if (m.owner != msg.sender) revert NotOwner(model, msg.sender);
        if (m.verifier != address(0)) revert AlreadyBound(model);
        if (verifier.code.length == 0) revert BadTerms("the verifier has no code");
        RegistrationText.checkCid(cid);
        m.verifier = verifier;
        m.verifyingKey = verifyingKey;
        m.commitment = keccak256(abi.encode(m.commitment, verifier, verifyingKey, keccak256(bytes(cid))));
        emit VerifierBound(model, verifier, verifyingKey, cid, m.commitment);
    }

    /// @inheritdoc IBalanceRegistry
    function revoke(bytes32 model, string calldata reason) external {
        ModelState storage m = _known(model);
        bool proposedTo = m.standing == Standing.Proposed && m.owner == msg.sender;
        if (!proposedTo && _models[newest[m.line]].owner != msg.sender) revert NotOwner(model, msg.sender);
        if (m.standing == Standing.Revoked) revert RevokedForever(model);
        if (bytes(reason).length > MAX_REASON) revert TooLarge(bytes(reason).length, MAX_REASON);
        m.standing = Standing.Revoked;
        emit Revoked(_count(), model, msg.sender, reason);
    }

    function _checkFirst(Registration calldata r, Terms calldata terms, bytes32 name, bytes32 model)
        private
        view
        returns (bytes32 line)
    {
        if (r.version != 1) revert WrongVersion(1, r.version);
        if (terms.owner != msg.sender) revert NotOwner(model, msg.sender);
        if (_names[msg.sender][name] != 0) revert NameTaken(msg.sender, r.name);
        return model;
    }

    /// @dev The model before is looked up under the sender, so that only its owner finds it.
    function _checkNext(Registration calldata r, Terms calldata terms, bytes32 name)
        private
        view
        returns (bytes32 line)
    {
        bytes32 previous = modelOf(msg.sender, r.previous);
        ModelState storage before = _active(previous);
        if (r.version != before.version + 1) revert WrongVersion(before.version + 1, r.version);
        line = before.line;
        if (_names[msg.sender][name] != line) revert WrongName(r.name);
        _checkNameOf(terms.owner, r.name, name, line);
    }

    function _checkAccepted(
        bytes32 model,
        ModelState storage m,
        Registration calldata r,
        Terms calldata terms,
        bytes32 name
    ) private view {
        bytes32 last = newest[m.line];
        if (msg.sender != m.owner && msg.sender != _models[last].owner) revert NotOwner(model, msg.sender);
        if (m.standing == Standing.Revoked) revert RevokedForever(model);
        if (m.standing != Standing.Proposed || msg.sender != m.owner) revert AlreadyRecorded(m.sequence);
        if (m.commitment != commitmentOf(m.registrationId, terms)) revert CommitmentMismatch(model);
        ModelState storage before = _models[last];
        if (before.standing != Standing.Active || before.registrationId != r.previous) {
            revert NotActive(last, before.standing);
        }
        _checkNameOf(msg.sender, r.name, name, m.line);
    }

    function _checkNameOf(address owner, string calldata text, bytes32 name, bytes32 line) private view {
        bytes32 taken = _names[owner][name];
        if (taken != 0 && taken != line) revert NameTaken(owner, text);
    }

    function _keepTerms(bytes32 model, ModelState storage m, Terms calldata terms) private {
        uint256 count = terms.validators.length;
        if (terms.owner == address(0)) revert BadTerms("nobody is no owner");
        if (terms.verifier == address(0) ? terms.verifyingKey != 0 : terms.verifier.code.length == 0) {
            revert BadTerms("the verifier has no code");
        }
        if (bytes(terms.cid).length != 0) RegistrationText.checkCid(terms.cid);
        if (count > MAX_VALIDATORS) revert TooLarge(count, MAX_VALIDATORS);
        if (terms.quorum > count || (terms.quorum == 0) != (count == 0)) revert BadTerms("quorum");
        for (uint256 i = 0; i < count; ++i) {
            address account = terms.validators[i];
            if (account == address(0) || isValidator[model][account]) revert BadTerms("validators");
            isValidator[model][account] = true;
        }
        m.verifier = terms.verifier;
        m.verifyingKey = terms.verifyingKey;
        m.quorum = terms.quorum;
        m.commitment = commitmentOf(m.registrationId, terms);
    }

    // ---------------------------------------------------------------- proofs

    /// @inheritdoc IBalanceRegistry
    function submit(bytes32 model, Said calldata said, string calldata bundle, bytes calldata attached)
        external
        returns (bytes32 answer)
    {
        bytes32 id;
        (answer, id) = _answer(model, said);
        if (_proofs[answer].sequence != 0) revert AnswerCountsOnce(answer, _proofs[answer].sequence);
        if (attached.length > MAX_INLINE) revert TooLarge(attached.length, MAX_INLINE);
        _submit(model, answer, id, said, bundle, attached);
    }

    /// @inheritdoc IBalanceRegistry
    function verify(bytes32 model, Said calldata said, string calldata bundle, Evidence calldata evidence)
        external
        returns (bytes32 answer)
    {
        bytes32 id;
        (answer, id) = _answer(model, said);
        ProofState storage p = _proofs[answer];
        if (p.verified) revert AnswerCountsOnce(answer, p.sequence);
        if (p.sequence == 0) _submit(model, answer, id, said, bundle, evidence.proof[0:0]);
        else if (p.statementDigest != said.statementDigest) revert OtherStatement(answer);
        _check(model, said, evidence);
        p.verified = true;
        p.proofKey = keccak256(
            abi.encode(model, keccak256(evidence.proof), keccak256(abi.encodePacked(evidence.publicValues)))
        );
        emit ProofVerified(_count(), model, answer, id, p.proofKey);
        ClaimState storage c = _claims[answer];
        if (c.status == ClaimStatus.Challenged && block.timestamp < c.deadline) {
            c.status = ClaimStatus.Answered;
            owed[c.claimant] += uint256(c.bond) + c.challengeBond;
            emit ClaimAnswered(_count(), answer, msg.sender);
        }
    }

    /// @inheritdoc IBalanceRegistry
    function attest(Attestation calldata word, bytes calldata signature) external {
        address validator = _signer(word, signature);
        bytes32 answer = answerOf(word.model, word.proofId);
        ProofState storage p = _proofs[answer];
        if (p.sequence == 0) revert UnknownProof(answer);
        if (p.statementDigest != word.statementDigest) revert OtherStatement(answer);
        VerdictState storage v = _verdicts[answer][validator];
        Verdict said = word.valid ? Verdict.Valid : Verdict.Invalid;
        Verdict before = v.verdict;
        if (before == said || before == Verdict.Equivocated) revert AlreadyRecorded(v.sequence);
        bool counts = isValidator[word.model][validator];
        if (before == Verdict.None) {
            v.verdict = said;
            if (counts && word.valid) ++p.valid;
            else if (counts) ++p.invalid;
        } else {
            v.verdict = Verdict.Equivocated;
            if (counts && word.valid) --p.invalid;
            else if (counts) --p.valid;
        }
        v.sequence = _count();
        emit ProofAttested(v.sequence, answer, word.proofId, validator, word);
    }

    /// @inheritdoc IBalanceRegistry
    function equivocator(
        Attestation calldata one,
        bytes calldata oneSignature,
        Attestation calldata other,
        bytes calldata otherSignature
    ) external view returns (address validator) {
        validator = _signer(one, oneSignature);
        if (validator != _signer(other, otherSignature)) revert BadSignature();
        if (one.model != other.model || one.proofId != other.proofId) revert UnknownProof(other.proofId);
        bool contradicts = one.statementDigest == other.statementDigest
            ? one.valid != other.valid
            : one.valid && other.valid;
        if (!contradicts) revert OtherStatement(answerOf(one.model, one.proofId));
    }

    function _submit(
        bytes32 model,
        bytes32 answer,
        bytes32 id,
        Said calldata said,
        string calldata bundle,
        bytes calldata attached
    ) private {
        ClaimState storage c = _claims[answer];
        // What was claimed can be proven whatever has become of its model since.
        ModelState storage m = c.status == ClaimStatus.None ? _active(model) : _known(model);
        if (m.owner != msg.sender) revert NotOwner(model, msg.sender);
        if (c.status != ClaimStatus.None && c.statementDigest != said.statementDigest) revert OtherStatement(answer);
        RegistrationText.checkCid(bundle);
        ProofState storage p = _proofs[answer];
        p.statementDigest = said.statementDigest;
        p.sequence = _count();
        emit ProofSubmitted(p.sequence, model, answer, id, msg.sender, said, bundle, attached);
    }

    /// @dev By STATICCALL, so that a verifier changes nothing here or elsewhere.
    function _check(bytes32 model, Said calldata said, Evidence calldata evidence) private view {
        ModelState storage m = _models[model];
        if (m.verifier == address(0)) revert NoVerifier(model);
        uint256 gasBefore = gasleft();
        try IProofVerifier(m.verifier).verify(
            m.verifyingKey, evidence.material, evidence.proof, evidence.publicValues
        ) returns (Said memory found) {
            if (
                found.context != said.context || found.inputsDigest != said.inputsDigest
                    || found.statementDigest != said.statementDigest
            ) revert SaysOtherwise(found);
        } catch (bytes memory reason) {
            // A call that ran out of gas leaves its caller the 64th part that was held back, and no more.
            if (gasleft() <= gasBefore / 64 || bytes4(reason) == IProofVerifier.OutOfGas.selector) {
                revert VerifierOutOfGas();
            }
            revert ProofRefused(reason);
        }
    }

    function _signer(Attestation calldata word, bytes calldata signature) private view returns (address) {
        bytes32 digest = _hashTypedDataV4(
            keccak256(abi.encode(ATTESTATION, word.model, word.proofId, word.statementDigest, word.valid))
        );
        (address signer, ECDSA.RecoverError failure,) = ECDSA.tryRecover(digest, signature);
        if (failure != ECDSA.RecoverError.NoError) revert BadSignature();
        return signer;
    }

    // ---------------------------------------------------------------- claims

    /// @inheritdoc IBalanceRegistry
    function claim(Claim calldata claim_) external payable returns (bytes32 answer) {
        bytes32 id;
        (answer, id) = _answer(claim_.model, claim_.said);
        if (_active(claim_.model).verifier == address(0)) revert NoVerifier(claim_.model);
        ClaimState storage c = _claims[answer];
        if (c.status != ClaimStatus.None) revert AnswerCountsOnce(answer, c.sequence);
        ProofState storage p = _proofs[answer];
        if (p.sequence != 0 && p.statementDigest != claim_.said.statementDigest) revert OtherStatement(answer);
        if (p.verified) revert AlreadyProven(answer);
        _checkStakes(claim_);
        c.statementDigest = claim_.said.statementDigest;
        c.bond = claim_.bond;
        c.challengeBond = claim_.challengeBond;
        c.claimant = msg.sender;
        c.answerSeconds = claim_.answerSeconds;
        c.deadline = uint64(block.timestamp) + claim_.challengeSeconds;
        c.status = ClaimStatus.Claimed;
        c.sequence = _count();
        emit ClaimOpened(c.sequence, answer, id, msg.sender, claim_, c.deadline);
    }

    /// @inheritdoc IBalanceRegistry
    function challenge(bytes32 answer) external payable {
        ClaimState storage c = _claims[answer];
        if (c.status == ClaimStatus.None) revert UnknownClaim(answer);
        if (c.status != ClaimStatus.Claimed) revert WrongClaimStatus(answer, c.status);
        if (block.timestamp >= c.deadline) revert TooLate(c.deadline);
        if (_proofs[answer].verified) revert AlreadyProven(answer);
        if (msg.value != c.challengeBond) revert WrongPayment(c.challengeBond, msg.value);
        c.status = ClaimStatus.Challenged;
        c.challenger = msg.sender;
        c.deadline = uint64(block.timestamp) + c.answerSeconds;
        emit ClaimChallenged(_count(), answer, msg.sender, c.deadline);
    }

    /// @inheritdoc IBalanceRegistry
    function settle(bytes32 answer) external {
        ClaimState storage c = _claims[answer];
        ClaimStatus before = c.status;
        if (before == ClaimStatus.None) revert UnknownClaim(answer);
        if (before != ClaimStatus.Claimed && before != ClaimStatus.Challenged) revert WrongClaimStatus(answer, before);
        if (block.timestamp < c.deadline) revert TooEarly(c.deadline);
        uint256 burnt = 0;
        if (before == ClaimStatus.Claimed) {
            c.status = ClaimStatus.FinalUnchallenged;
            owed[c.claimant] += c.bond;
        } else {
            c.status = ClaimStatus.Slashed;
            burnt = c.bond / 2;
            owed[NOBODY] += burnt;
            owed[c.challenger] += uint256(c.bond) + c.challengeBond - burnt;
        }
        emit ClaimSettled(_count(), answer, msg.sender, c.status, burnt);
    }

    /// @inheritdoc IBalanceRegistry
    function withdraw(address payable to, uint128 amount) external nonReentrant {
        uint256 credit = owed[msg.sender];
        if (amount == 0 || amount > credit) revert NotOwed(msg.sender, credit);
        owed[msg.sender] = credit - amount;
        emit Withdrawn(_count(), msg.sender, to, amount);
        (bool paid,) = to.call{value: amount}("");
        if (!paid) revert PaymentFailed(to);
    }

    function _checkStakes(Claim calldata claim_) private view {
        if (msg.sender != _models[claim_.model].owner) revert NotOwner(claim_.model, msg.sender);
        if (msg.value != claim_.bond) revert WrongPayment(claim_.bond, msg.value);
        if (claim_.challengeBond == 0 || claim_.challengeBond > claim_.bond) revert BadTerms("challengeBond");
        if (claim_.challengeSeconds == 0 || claim_.challengeSeconds > MAX_WINDOW) revert BadTerms("challengeSeconds");
        if (claim_.answerSeconds == 0 || claim_.answerSeconds > MAX_WINDOW) revert BadTerms("answerSeconds");
        RegistrationText.checkCid(claim_.content);
    }

    // ---------------------------------------------------------------- views

    /// @inheritdoc IBalanceRegistry
    function registrationIdOf(Registration calldata registration) external pure returns (bytes32) {
        return RegistrationText.digest(registration);
    }

    /// @inheritdoc IBalanceRegistry
    function modelOf(address owner, bytes32 registrationId) public pure returns (bytes32) {
        return keccak256(abi.encode(owner, registrationId));
    }

    /// @inheritdoc IBalanceRegistry
    function proofIdOf(bytes32 registrationId, bytes32 inputsDigest, bytes32 context) public pure returns (bytes32) {
        return CoreDigest.proofId(registrationId, inputsDigest, context);
    }

    /// @inheritdoc IBalanceRegistry
    function answerOf(bytes32 model, bytes32 proofId) public pure returns (bytes32) {
        return keccak256(abi.encode(model, proofId));
    }

    /// @inheritdoc IBalanceRegistry
    function commitmentOf(bytes32 registrationId, Terms calldata terms) public pure returns (bytes32) {
        return keccak256(
            abi.encode(
                registrationId,
                terms.owner,
                terms.verifier,
                terms.verifyingKey,
                keccak256(bytes(terms.cid)),
                keccak256(abi.encode(terms.validators)),
                terms.quorum
            )
        );
    }

    /// @inheritdoc IBalanceRegistry
    function modelState(bytes32 model) external view returns (ModelState memory) {
        return _models[model];
    }

    /// @inheritdoc IBalanceRegistry
    function proofState(bytes32 answer) external view returns (ProofState memory) {
        return _proofs[answer];
    }

    /// @inheritdoc IBalanceRegistry
    function proofStatus(bytes32 model, bytes32 answer) external view returns (ProofStatus) {
        ProofState storage p = _proofs[answer];
        if (p.sequence == 0) return ProofStatus.Unknown;
        if (p.verified) return ProofStatus.Verified;
        if (p.invalid != 0) return ProofStatus.Disputed;
        uint32 quorum = _models[model].quorum;
        return quorum != 0 && p.valid >= quorum ? ProofStatus.Attested : ProofStatus.Submitted;
    }

    /// @inheritdoc IBalanceRegistry
    function verdict(bytes32 answer, address validator) external view returns (Verdict) {
        return _verdicts[answer][validator].verdict;
    }

    /// @inheritdoc IBalanceRegistry
    function claimState(bytes32 answer) external view returns (ClaimState memory) {
        return _claims[answer];
    }

    function _known(bytes32 model) private view returns (ModelState storage m) {
        m = _models[model];
        if (m.standing == Standing.Unknown) revert UnknownModel(model);
    }

    /// @dev The active model, whoever's it is: the caller checks the sender.
    function _active(bytes32 model) private view returns (ModelState storage m) {
        m = _known(model);
        if (m.standing != Standing.Active) revert NotActive(model, m.standing);
    }

    function _answer(bytes32 model, Said calldata said) private view returns (bytes32 answer, bytes32 id) {
        id = proofIdOf(_known(model).registrationId, said.inputsDigest, said.context);
        answer = answerOf(model, id);
    }

    function _count() private returns (uint64) {
        return ++sequence;
    }
}
