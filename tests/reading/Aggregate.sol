// SPDX-License-Identifier: MIT
pragma solidity ^0.8.20;

/// @title What thresholds need of multicall3, to read them on a real EVM; and calls that go wrong in every way.
contract Aggregate {
    struct Call {
        address target;
        bool mayFail;
        bytes data;
    }

    struct Answer {
        bool isDone;
        bytes data;
    }

    uint256 public constant seven = 7;

    function aggregate3(Call[] calldata calls) external payable returns (Answer[] memory answers) {
        answers = new Answer[](calls.length);
        for (uint256 at = 0; at < calls.length; at++) {
            (answers[at].isDone, answers[at].data) = calls[at].target.call(calls[at].data);
            require(answers[at].isDone || calls[at].mayFail, "a call failed");
        }
    }

    function getEthBalance(address account) external view returns (uint256) {
        return account.balance;
    }

    function pair() external pure returns (int256 first, string memory second) {
        return (-5, "five");
    }

    function refuses() external pure returns (uint256) {
        revert("not today");
    }

    function burns() external pure returns (uint256 left) {
        while (true) left++;
    }

    function floods() external pure returns (bytes memory data) {
        data = new bytes(200_000);
    }
}
