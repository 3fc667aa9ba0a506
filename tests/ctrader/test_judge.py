"""The judge: every code has its ruling, and every shape of an error message is read."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradesession.ctrader import messages as pb
from tradesession.ctrader.judge import BENIGN, ERROR_MESSAGES, MAINTENANCE_DEFAULT, RETRY_DEFAULT, RULINGS, ErrorMessage, judge
from tradesession.verdict import Action, Level, Verdict

NOW = 1_767_225_600.0
CODES = [*pb.ProtoErrorCode.keys(), *pb.ProtoOAErrorCode.keys()]


# --- the table ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", CODES)
def test_every_code_of_both_enums_has_a_ruling_and_a_remedy(code: str) -> None:
    action, level, remedy = RULINGS[code]
    assert isinstance(action, Action)
    assert isinstance(level, Level)
    assert remedy.strip()
    assert len(remedy.splitlines()) == 1


def test_the_table_knows_no_code_that_is_in_no_enum() -> None:
    assert set(RULINGS) == set(CODES)
    assert set(RULINGS) >= BENIGN


def test_no_code_stands_in_both_enums_with_two_meanings() -> None:
    assert len(CODES) == len(set(CODES))


def rulings(action: Action) -> set[str]:
    return {code for code, (ruled, _, _) in RULINGS.items() if ruled is action}


def test_only_token_codes_lead_to_a_refresh_and_no_code_by_itself_to_a_person() -> None:
    assert rulings(Action.REFRESH) == {"OA_AUTH_TOKEN_EXPIRED", "CH_ACCESS_TOKEN_INVALID"}
    assert rulings(Action.REAUTHORIZE) == set()
    assert {code for code, (_, level, _) in RULINGS.items() if level is Level.TOKEN} == rulings(Action.REFRESH)


def test_only_quotas_and_maintenance_are_waited_out() -> None:
    assert rulings(Action.RETRY_AFTER) == {"BLOCKED_PAYLOAD_TYPE", "REQUEST_FREQUENCY_EXCEEDED", "SERVER_IS_UNDER_MAINTENANCE"}


@pytest.mark.parametrize(
    ("code", "action", "level"),
    [
        ("CH_CLIENT_AUTH_FAILURE", Action.FATAL, Level.LINK),
        ("CH_OA_CLIENT_NOT_FOUND", Action.FATAL, Level.LINK),
        ("CONNECTIONS_LIMIT_EXCEEDED", Action.RETRY, Level.LINK),
        ("ACCOUNT_NOT_AUTHORIZED", Action.RETRY, Level.ACCOUNT),
        ("CANT_ROUTE_REQUEST", Action.RETRY, Level.ACCOUNT),
        ("RET_ACCOUNT_DISABLED", Action.FATAL, Level.ACCOUNT),
        ("CH_CTID_TRADER_ACCOUNT_NOT_FOUND", Action.FATAL, Level.ACCOUNT),
        ("CH_SERVER_NOT_REACHABLE", Action.RETRY, Level.REQUEST),
        ("NOT_ENOUGH_MONEY", Action.FATAL, Level.REQUEST),
        ("INVALID_REQUEST", Action.FATAL, Level.REQUEST),
    ],
)
def test_a_verdict_stays_on_its_own_level(code: str, action: Action, level: Level) -> None:
    assert judge(pb.ProtoOAErrorRes(errorCode=code), wall=NOW).verdict == Verdict(action, level)


# --- reading ------------------------------------------------------------------------------------------------------------------------


def refusals(code: str, description: str) -> list[ErrorMessage]:
    return [
        pb.ProtoErrorRes(errorCode=code, description=description),
        pb.ProtoOAErrorRes(errorCode=code, description=description, ctidTraderAccountId=7),
        pb.ProtoOAOrderErrorEvent(errorCode=code, description=description, ctidTraderAccountId=7),
        pb.ProtoOAExecutionEvent(errorCode=code, ctidTraderAccountId=7, executionType=pb.ProtoOAExecutionType.ORDER_REJECTED),
    ]


def test_all_four_messages_say_the_same_refusal() -> None:
    for message in refusals("NOT_ENOUGH_MONEY", "too little"):
        refusal = judge(message, wall=NOW, request="ProtoOANewOrderReq")
        assert refusal.code == "NOT_ENOUGH_MONEY"
        assert refusal.description == ("" if isinstance(message, pb.ProtoOAExecutionEvent) else "too little")
        assert refusal.account_id == (None if isinstance(message, pb.ProtoErrorRes) else 7)
        assert refusal.request == "ProtoOANewOrderReq"
        assert refusal.remedy == RULINGS["NOT_ENOUGH_MONEY"][2]
        assert refusal.retry_after is None
        assert refusal.remedy in str(refusal)


def test_the_error_messages_are_all_but_the_execution() -> None:
    assert [message for message in ERROR_MESSAGES if isinstance(refusals("X", "")[0], message)] == [pb.ProtoErrorRes]
    assert len(ERROR_MESSAGES) == 3


def test_account_zero_is_no_account() -> None:
    assert judge(pb.ProtoOAErrorRes(errorCode="X", ctidTraderAccountId=0), wall=NOW).account_id is None


def test_a_code_that_nobody_knows_is_a_refusal_like_any_other() -> None:
    refusal = judge(pb.ProtoOAErrorRes(errorCode="ALREADY_CLOSED", description="why not"), wall=NOW)
    assert (refusal.code, refusal.remedy, refusal.verdict) == ("ALREADY_CLOSED", "", Verdict(Action.FATAL, Level.REQUEST))


def test_a_rejected_execution_without_a_code_is_a_refusal_without_a_reason() -> None:
    assert judge(refusals("", "")[3], wall=NOW).code == "UNKNOWN_ERROR"


def test_text_that_is_no_utf8_is_read_as_well_as_can_be() -> None:
    raw = pb.ProtoOAErrorRes(errorCode="INVALID_REQUEST").SerializeToString() + b"\x22\x04\xff\xfeok" + b"\x1a\x02X\xff"
    refusal = judge(pb.ProtoOAErrorRes.FromString(raw), wall=NOW)
    assert refusal.code == "X\ufffd"
    assert refusal.description == "\ufffd\ufffdok"
    raw = pb.ProtoOAErrorRes(errorCode="INVALID_REQUEST").SerializeToString() + b"\x22\x02\xff\xfe"
    assert judge(pb.ProtoOAErrorRes.FromString(raw), wall=NOW).code == "INVALID_REQUEST"


@pytest.mark.parametrize(
    ("description", "is_about_the_account"),
    [
        ("Trading account is not authorized", True),
        ("trading account is not authorised", True),
        ("Trading account 5 is not authorized", True),
        ("Account not authorized.", True),
        ("Trading account is authorized", False),
        ("Order price = 1.123456 has more digits than symbol allows. Allowed 5 digits", False),
        ("This account is fine. You are not authorized", False),
        ("", False),
    ],
)
def test_an_unauthorised_account_is_known_by_its_text(description: str, is_about_the_account: bool) -> None:
    refusal = judge(pb.ProtoOAErrorRes(errorCode="INVALID_REQUEST", description=description), wall=NOW)
    expected = Verdict(Action.RETRY, Level.ACCOUNT) if is_about_the_account else Verdict(Action.FATAL, Level.REQUEST)
    assert refusal.verdict == expected
    assert refusal.code == "INVALID_REQUEST"


# --- how long to wait ---------------------------------------------------------------------------------------------------------------


def pause(message: ErrorMessage) -> float:
    refusal = judge(message, wall=NOW)
    assert refusal.verdict.action is Action.RETRY_AFTER
    assert refusal.verdict.after == refusal.retry_after
    return cast("float", refusal.retry_after)


def test_the_server_names_the_pause_of_a_blocked_type() -> None:
    assert pause(pb.ProtoOAErrorRes(errorCode="BLOCKED_PAYLOAD_TYPE", retryAfter=12)) == 12.0


def test_a_code_that_nobody_knows_is_retried_after_the_pause_that_the_server_names() -> None:
    assert pause(pb.ProtoOAErrorRes(errorCode="XYZZY", retryAfter=7)) == 7.0
    assert judge(pb.ProtoOAErrorRes(errorCode="XYZZY"), wall=NOW).verdict.action is Action.FATAL


@pytest.mark.parametrize("code", ["BLOCKED_PAYLOAD_TYPE", "REQUEST_FREQUENCY_EXCEEDED"])
def test_where_it_names_none_ours_is_kept(code: str) -> None:
    for message in refusals(code, ""):
        assert pause(message) == RETRY_DEFAULT
    assert pause(pb.ProtoOAErrorRes(errorCode=code, retryAfter=0)) == RETRY_DEFAULT


def test_the_end_of_a_maintenance_is_told_in_seconds_by_one_message_and_in_milliseconds_by_the_other() -> None:
    code = "SERVER_IS_UNDER_MAINTENANCE"
    assert pause(pb.ProtoOAErrorRes(errorCode=code, maintenanceEndTimestamp=int(NOW) + 600)) == 600
    assert pause(pb.ProtoErrorRes(errorCode=code, maintenanceEndTimestamp=(int(NOW) + 600) * 1000)) == 600


def test_a_server_that_confuses_seconds_and_milliseconds_is_understood() -> None:
    code = "SERVER_IS_UNDER_MAINTENANCE"
    assert pause(pb.ProtoOAErrorRes(errorCode=code, maintenanceEndTimestamp=(int(NOW) + 600) * 1000)) == 600
    assert pause(pb.ProtoErrorRes(errorCode=code, maintenanceEndTimestamp=int(NOW) + 600)) == 600


@pytest.mark.parametrize("ends_at", [0, -5, int(NOW), int(NOW) - 1])
def test_a_maintenance_whose_end_is_not_told_or_over_is_waited_out_for_a_while(ends_at: int) -> None:
    message = pb.ProtoOAErrorRes(errorCode="SERVER_IS_UNDER_MAINTENANCE", maintenanceEndTimestamp=ends_at)
    assert pause(message) == MAINTENANCE_DEFAULT


def test_a_maintenance_of_days_and_one_until_the_year_5000_are_looked_at_every_hour() -> None:
    for seconds in (48 * 3600, 10**11 - int(NOW) - 1):
        message = pb.ProtoOAErrorRes(errorCode="SERVER_IS_UNDER_MAINTENANCE", maintenanceEndTimestamp=int(NOW) + seconds)
        refusal = judge(message, wall=NOW)
        assert (refusal.retry_after, refusal.verdict.after) == (seconds, 3600)


@given(st.sampled_from(CODES), st.integers(0, 2**63 - 1), st.integers(-(2**63), 2**63 - 1), st.text(max_size=50))
def test_whatever_a_server_sends_is_judged_and_never_waits_for_less_than_nothing(code: str, after: int, ends_at: int, said: str) -> None:
    said = said.encode("utf-8", "ignore").decode()
    refusal = judge(pb.ProtoOAErrorRes(errorCode=code, retryAfter=after, maintenanceEndTimestamp=ends_at, description=said), wall=NOW)
    assert refusal.retry_after is None or refusal.retry_after > 0
    assert (refusal.retry_after is None) == (refusal.verdict.action is not Action.RETRY_AFTER)
    assert refusal.verdict.after is None or 0 < refusal.verdict.after <= 3600
