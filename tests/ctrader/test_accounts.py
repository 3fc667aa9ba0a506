"""Accounts: which ones are chosen, and how they are told when they are not."""

from __future__ import annotations

from typing import Any

import pytest

from tradesession.ctrader import messages as pb
from tradesession.ctrader.accounts import Account, Accounts, AccountState, choose
from tradesession.ctrader.config import Config
from tradesession.errors import LinkLost, UnknownAccount

DEMO = Account(1, login=101, is_live=False, broker="Pepper")
OTHER_DEMO = Account(2, login=102, is_live=False, broker="IC")
LIVE = Account(3, login=103, is_live=True, broker="Pepper")
UNTOLD = Account(4)
GRANTED = [DEMO, OTHER_DEMO, LIVE, UNTOLD]


def chosen(granted: list[Account] = GRANTED, *, is_one_of_two: bool = False, **options: Any) -> list[int]:
    config = Config(client_id="app", client_secret="secret", **options)
    return [account.id for account in choose(granted, config, is_one_of_two=is_one_of_two)]


# --- choosing -----------------------------------------------------------------------------------------------------------------------


def test_without_a_choice_all_of_the_environment_are_chosen_and_those_that_may_be_of_it() -> None:
    assert chosen() == [1, 2, 4]
    assert chosen(environment="live") == [3, 4]


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ({"accounts": [2]}, [2]),
        ({"accounts": [2, 1, 2]}, [1, 2]),
        ({"logins": [102]}, [2]),
        ({"brokers": ["pepper"]}, [1]),
        ({"brokers": ["PEPPER", "ic"]}, [1, 2]),
        ({"brokers": ["pepper"], "environment": "live"}, [3]),
        ({"accounts": [4], "logins": [101], "brokers": ["IC"]}, [1, 2, 4]),
        ({"accounts": [4], "environment": "live"}, [4]),
    ],
)
def test_choices_add_up_in_the_order_of_the_servers_list(options: dict[str, Any], ids: list[int]) -> None:
    assert chosen(**options) == ids


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"accounts": [9]}, r"account 9 is not among the accounts that the token grants: 1 \(login 101, Pepper, demo\), "),
        ({"accounts": [1, 9]}, "account 9 is not among"),
        ({"accounts": [101]}, "account 101 is not among"),
        ({"logins": [9]}, "login 9 is not among"),
        ({"brokers": ["nobody"]}, "broker 'nobody' is not among"),
        ({"accounts": [3]}, "account 3 is a live account and this session is for demo: set environment='live'"),
        ({"logins": [101], "environment": "live"}, "login 101 is a demo account and this session is for live: set environment='demo'"),
        ({"brokers": ["ic"], "environment": "live"}, "broker 'ic' is a demo account"),
    ],
)
def test_what_is_not_to_be_had_is_named(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UnknownAccount, match=told):
        chosen(**options)


def test_a_grant_with_nothing_for_the_environment_is_told_with_what_it_has() -> None:
    with pytest.raises(UnknownAccount, match=r"the token grants no live account; it grants 1 \(login 101, Pepper, demo\)"):
        chosen([DEMO], environment="live")
    with pytest.raises(UnknownAccount, match="the token grants no demo account; it grants none"):
        chosen([])


def test_of_two_links_each_takes_its_own_and_may_have_nothing() -> None:
    cases: list[tuple[dict[str, Any], list[int], list[int]]] = [
        ({}, [1, 2, 4], [3, 4]),
        ({"accounts": [3, 1]}, [1], [3]),
        ({"accounts": [2]}, [2], []),
    ]
    for options, demo, live in cases:
        assert chosen(is_one_of_two=True, **options) == demo
        assert chosen(is_one_of_two=True, environment="live", **options) == live
    with pytest.raises(UnknownAccount, match="account 9 is not among"):
        chosen(is_one_of_two=True, accounts=[9])


# --- an account ---------------------------------------------------------------------------------------------------------------------


def test_an_account_is_read_from_the_list_with_whatever_the_server_tells() -> None:
    full = pb.ProtoOACtidTraderAccount(ctidTraderAccountId=5, isLive=False, traderLogin=55, brokerTitleShort="B")
    account = Account.of(full)
    assert (account.id, account.login, account.is_live, account.broker) == (5, 55, False, "B")
    bare = Account.of(pb.ProtoOACtidTraderAccount(ctidTraderAccountId=5))
    assert (bare.id, bare.login, bare.is_live, bare.broker) == (5, None, None, "")


def test_a_broker_that_is_no_utf8_is_text_all_the_same() -> None:
    raw = pb.ProtoOACtidTraderAccount(ctidTraderAccountId=5).SerializeToString() + b"\x32\x02\xffB"
    account = Account.of(pb.ProtoOACtidTraderAccount.FromString(raw))
    assert account.broker == "\ufffdB"
    assert str(account) == "5 (\ufffdB, demo or live)"


def test_an_id_is_the_same_number_in_the_list_and_in_requests() -> None:
    highest = Account.of(pb.ProtoOACtidTraderAccount(ctidTraderAccountId=2**63 - 1))
    beyond = Account.of(pb.ProtoOACtidTraderAccount(ctidTraderAccountId=2**64 - 5))  # the list alone has it unsigned
    assert (highest.id, beyond.id) == (2**63 - 1, -5)
    assert pb.ProtoOAAccountAuthReq(ctidTraderAccountId=beyond.id, accessToken="token").ctidTraderAccountId == -5


def test_an_account_reads_as_what_is_known_of_it() -> None:
    assert str(DEMO) == "1 (login 101, Pepper, demo)"
    assert str(LIVE) == "3 (login 103, Pepper, live)"
    assert str(UNTOLD) == "4 (demo or live)"
    assert repr(DEMO) == "<Account 1 (login 101, Pepper, demo) UNKNOWN>"


def test_a_state_has_its_cause_and_the_next_one_forgets_it() -> None:
    account = Account(1)
    assert (account.state, account.cause) == (AccountState.UNKNOWN, None)
    cause = LinkLost("gone")
    account.enter(AccountState.SUSPENDED, cause)
    assert (account.state, account.cause) == (AccountState.SUSPENDED, cause)
    account.enter(AccountState.AUTHORIZED)
    assert (account.state, account.cause) == (AccountState.AUTHORIZED, None)


# --- the accounts of a session --------------------------------------------------------------------------------------------------------


def test_accounts_are_a_sequence_and_found_by_id_and_login() -> None:
    accounts = Accounts([DEMO, LIVE])
    assert list(accounts) == [DEMO, LIVE]
    assert (len(accounts), accounts[1], accounts[:1], DEMO in accounts, UNTOLD in accounts) == (2, LIVE, [DEMO], True, False)
    assert accounts.by_id(3) is LIVE
    assert accounts.by_login(101) is DEMO
    assert accounts.get(3) is LIVE
    assert accounts.get(9) is None


def test_the_only_account_or_an_error_that_lists_them() -> None:
    assert Accounts([DEMO]).only() is DEMO
    with pytest.raises(UnknownAccount, match=r"there is not one account but 2: choose one of 1 \(login 101, Pepper, demo\), 3 \("):
        Accounts([DEMO, LIVE]).only()
    with pytest.raises(UnknownAccount, match="there is not one account but 0"):
        Accounts().only()


def test_what_is_not_there_is_told_with_what_is() -> None:
    accounts = Accounts([UNTOLD])
    with pytest.raises(UnknownAccount, match=r"account 9 is not in this session; it has 4 \(demo or live\)"):
        accounts.by_id(9)
    with pytest.raises(UnknownAccount, match="login 9 is not in this session"):
        accounts.by_login(9)
    with pytest.raises(UnknownAccount, match="it has none"):
        Accounts().by_id(9)


def test_accounts_read_as_a_list() -> None:
    assert str(Accounts([UNTOLD, Account(5)])) == "4 (demo or live), 5 (demo or live)"
    assert repr(Accounts()) == "<Accounts none>"


def test_after_a_new_connection_known_accounts_are_the_objects_that_they_were() -> None:
    accounts = Accounts()
    first = accounts.merge([Account(1, is_live=None), Account(2, is_live=False)], False)
    again = accounts.merge([Account(2, login=22, is_live=False, broker="B"), Account(5, is_live=False)], False)
    assert again[0] is first[1]
    assert (again[0].login, again[0].broker) == (22, "B")
    assert [account.id for account in accounts] == [1, 2, 5]
    assert first[0].state is AccountState.SUSPENDED
    assert "account 1 is no longer among those that the token grants" in str(first[0].cause)
    assert [account.is_live for account in accounts] == [False, False, False]


def test_a_link_does_not_touch_the_accounts_of_the_other() -> None:
    accounts = Accounts()
    (demo,) = accounts.merge([Account(1, is_live=False)], False)
    accounts.merge([Account(3, is_live=True)], True)
    assert demo.state is AccountState.UNKNOWN
    assert len(accounts) == 2
