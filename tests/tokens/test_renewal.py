"""The decisions: when a token is due, what a stored record means, how long to wait. Pure, so held against every number."""

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tradesession import policy
from tradesession.errors import StoreUnreachable, TokenEndpointUnreachable, TokenRefused, UncertainExchange
from tradesession.secrets import Secret
from tradesession.tokens.renewal import (
    NEVER,
    Adopt,
    ExchangeNow,
    Life,
    Need,
    Refuse,
    RenewalPolicy,
    Sight,
    Watch,
    doubt_pause,
    pause_after,
    plan,
    refusal_pause,
    retry_pause,
    save_pause,
    spacing,
)
from tradesession.tokens.store import GrantStatus, StoredGrant
from tradesession.tokens.token import Token, TokenState
from tradesession.verdict import Action, Level, Verdict

LENGTHS = st.floats(1.0, 1e9)
TIMES = st.floats(0.0, 1e9)
CHANCES = st.floats(0.0, 1.0, exclude_max=True)


def token(length: float | None = 3600.0, issued_at: float | None = 0.0, generation: int = 3, access: str = "a") -> Token:
    expires_at = None if length is None else (issued_at or 0.0) + length
    return Token(access=Secret(access), refresh=Secret("r"), issued_at=issued_at, expires_at=expires_at, generation=generation)


# --- lives ------------------------------------------------------------------------------------------------------------------------


@given(LENGTHS, TIMES, CHANCES, st.floats(0.0, 1.0))
def test_a_life_is_renewed_first_then_waited_for_then_over(length: float, now: float, chance: float, lived: float) -> None:
    life = Life.of(token(length), now=now, wall=0.0, age=lived * length, chance=chance)
    assert life.renew_at < life.mandatory_at < life.ends_at
    left = life.ends_at - now
    assert left == pytest.approx((1 - lived) * length, abs=1e-6 * (now + length))
    due = 1 - (life.ends_at - life.renew_at) / length
    tolerance = 1e-6 * (now + length) / length
    assert 0.76 - tolerance <= due <= 0.84 + tolerance
    assert life.ends_at - life.mandatory_at <= min(60.0, 0.1 * length) * (1 + 1e-6) + 1e-6 * (now + length)


@given(LENGTHS, TIMES, CHANCES)
def test_states_follow_one_another(length: float, now: float, chance: float) -> None:
    life = Life.of(token(length), now=now, wall=0.0, age=0.0, chance=chance)
    assert life.state(life.renew_at - 1e-3 * length) is TokenState.FRESH
    assert life.state(life.renew_at) is TokenState.STALE
    assert life.state(life.ends_at) is TokenState.EXPIRED


def test_without_an_age_the_wall_clock_tells_but_never_more_than_the_length() -> None:
    assert Life.of(token(100.0, 1000.0), now=5.0, wall=1040.0).ends_at == 65.0
    assert Life.of(token(100.0, 1000.0), now=5.0, wall=500.0).ends_at == 105.0, "our clock is behind the one that wrote this"
    assert Life.of(token(100.0, 1000.0), now=5.0, wall=1200.0).ends_at == -95.0


def test_an_expiry_without_an_issue_counts_from_now() -> None:
    life = Life.of(replace(token(), issued_at=None, expires_at=1100.0), now=5.0, wall=1000.0, age=77.0)
    assert (life.ends_at, life.length) == (105.0, 100.0)
    over = Life.of(replace(token(), issued_at=None, expires_at=900.0), now=5.0, wall=1000.0)
    assert over.state(5.0) is TokenState.EXPIRED


def test_a_token_without_an_expiry_lives_for_ever() -> None:
    life = Life.of(token(None), now=5.0, wall=0.0)
    assert (life.renew_at, life.mandatory_at, life.ends_at) == (NEVER, NEVER, NEVER)
    assert life.state(1e18) is TokenState.FRESH


def test_a_token_without_an_access_secret_is_over() -> None:
    life = Life.of(replace(token(), access=Secret("")), now=5.0, wall=0.0)
    assert life.state(5.0) is TokenState.EXPIRED
    assert not Need().is_met_by(replace(token(), access=Secret("")), life, 5.0)


@given(LENGTHS, TIMES, st.floats(0.0, 1e6))
def test_a_jump_counts_as_time_passed(length: float, now: float, jump: float) -> None:
    life = Life.of(token(length), now=now, wall=0.0, age=0.0)
    later = life.after_jump(jump)
    assert later.length == life.length
    for before, after in ((life.renew_at, later.renew_at), (life.mandatory_at, later.mandatory_at), (life.ends_at, later.ends_at)):
        assert after == before - jump


# --- pauses -----------------------------------------------------------------------------------------------------------------------


@given(st.integers(1, 10_000), LENGTHS, CHANCES)
def test_pauses_grow_to_a_bound_and_keep_their_jitter(failures: int, length: float, chance: float) -> None:
    pause = retry_pause(failures, length, chance)
    assert 0 < pause <= policy.TOKEN_RETRY_LIMIT
    assert pause <= max(policy.TOKEN_RETRY_FIRST, length / 20)
    assert retry_pause(failures, length, 0.0) < retry_pause(failures, length, 0.9)
    assert retry_pause(failures, length, chance) <= retry_pause(failures + 1, length, chance)
    assert 0 < save_pause(failures, chance) <= policy.SAVE_RETRY_LIMIT


def test_doubts_are_put_again_after_growing_pauses() -> None:
    assert [doubt_pause(attempts) for attempts in range(1, 9)] == [0, 30, 60, 120, 240, 480, 900, 900]
    assert doubt_pause(10_000) == 900


def test_new_tokens_that_are_refused_are_replaced_more_and_more_slowly() -> None:
    assert [refusal_pause(refusals, 3600.0) for refusals in range(9)] == [0, 0, 1, 2, 4, 8, 16, 30, 30]
    assert refusal_pause(100, 60.0) == 15.0
    assert refusal_pause(10_000, math.inf) == 30.0


def test_spacing_is_half_a_minute_or_a_quarter_of_the_life() -> None:
    assert [spacing(length) for length in (4.0, 60.0, 120.0, 1e9, math.inf)] == [1.0, 15.0, 30.0, 30.0, 30.0]


def test_each_failure_has_its_pause() -> None:
    fatal = TokenEndpointUnreachable("certificate")
    fatal.verdict = Verdict(Action.FATAL, Level.TOKEN)
    waits = UncertainExchange("no answer")
    waits.verdict = Verdict(Action.RETRY_AFTER, Level.TOKEN, after=77.0)
    assert pause_after(TokenEndpointUnreachable("busy", retry_after=5.0), 1, 3600.0, 0.5) == 5.0
    assert pause_after(fatal, 1, 3600.0, 0.5) == policy.TOKEN_REFUSED_PAUSE
    assert pause_after(TokenRefused("no"), 1, 3600.0, 0.5) == policy.TOKEN_REFUSED_PAUSE
    assert pause_after(waits, 1, 3600.0, 0.5) == 77.0
    assert pause_after(StoreUnreachable("down"), 99, 3600.0, 0.99) <= policy.SAVE_RETRY_LIMIT
    assert pause_after(TokenEndpointUnreachable("down"), 3, 3600.0, 0.5) == retry_pause(3, 3600.0, 0.5)


# --- needs ------------------------------------------------------------------------------------------------------------------------


def test_what_meets_a_need() -> None:
    good = token()
    life = Life.of(good, now=0.0, wall=0.0, age=0.0)
    assert Need().is_met_by(good, life, 0.0)
    assert Need(min_ttl=3600.0).is_met_by(good, life, 0.0)
    assert not Need(min_ttl=3601.0).is_met_by(good, life, 0.0)
    assert not Need(unlike=good.access).is_met_by(good, life, 0.0)
    assert Need(unlike=Secret("b")).is_met_by(good, life, 0.0)
    assert Need().is_met_by(good, life, life.renew_at)
    assert not Need(not_due=True).is_met_by(good, life, life.renew_at)
    assert not Need().is_met_by(good, life, life.mandatory_at)


NEEDS = st.builds(
    Need,
    min_ttl=st.sampled_from([0.0, 60.0, 1e9]),
    unlike=st.sampled_from([None, Secret("a"), Secret("b")]),
    not_due=st.booleans(),
    later=st.booleans(),
    anyway=st.booleans(),
)


@given(NEEDS, NEEDS, NEEDS)
def test_covering_is_an_order(one: Need, two: Need, three: Need) -> None:
    assert one.covers(one)
    assume(one.covers(two) and two.covers(three))
    assert one.covers(three)


# --- plans ------------------------------------------------------------------------------------------------------------------------


def grant(status: GrantStatus = GrantStatus.USABLE, *, since: float = 1e6, attempts: int = 1, generation: int = 3) -> StoredGrant:
    return StoredGrant(token=token(generation=generation), status=status, age=0.0, since=since, revision=1, attempts=attempts)


def sight(age: float = 0.0, *, newer_than: int = 3, gone: bool = False, watched: float = 0.0) -> Sight:
    life = Life.of(token(), now=0.0, wall=0.0, age=age)
    return Sight(now=0.0, life=life, newer_than=newer_than, is_holder_gone=gone, watched=watched)


OVER = 3601.0
REFUSED = Need(unlike=Secret("a"))


def test_nothing_stored_is_exchanged_from_nothing() -> None:
    assert plan(None, Need(), sight()) == ExchangeNow(None)


@pytest.mark.parametrize("status", list(GrantStatus))
def test_a_good_token_is_adopted_however_its_grant_stands(status: GrantStatus) -> None:
    stored = grant(status, since=0.0)
    assert plan(stored, Need(), sight()) == Adopt(stored)


def test_a_usable_grant_is_exchanged() -> None:
    stored = grant()
    for need, age in ((Need(), OVER), (REFUSED, 0.0), (Need(min_ttl=1e9), 0.0), (Need(not_due=True), 3200.0), (Need(later=True), 0.0)):
        assert plan(stored, need, sight(age)) == ExchangeNow(stored)


def test_what_came_since_the_need_arose_will_do() -> None:
    stored = grant()
    assert plan(stored, Need(min_ttl=1e9), sight(newer_than=2)) == Adopt(stored)
    assert plan(stored, Need(later=True), sight(newer_than=2)) == Adopt(stored)
    assert plan(stored, REFUSED, sight(newer_than=2)) == ExchangeNow(stored), "but not the refused one"
    assert plan(stored, Need(not_due=True), sight(3200.0, newer_than=2)) == ExchangeNow(stored), "nor one that is due itself"
    assert plan(stored, Need(), sight(OVER, newer_than=2)) == ExchangeNow(stored), "nor one that is over"


def test_what_was_exchanged_a_moment_ago_will_do_for_a_need_that_no_token_of_its_kind_meets() -> None:
    stored, need = replace(grant(), age=29.0, is_renewed=True), Need(min_ttl=3600.0)
    assert plan(stored, need, sight(29.0)) == Adopt(stored)
    assert plan(stored, replace(need, min_ttl=3599.0), sight(29.0)) == ExchangeNow(stored), "the next one does meet it"
    assert plan(replace(stored, age=30.0), need, sight(30.0)) == ExchangeNow(replace(stored, age=30.0)), "it is too long ago"
    assert plan(replace(stored, is_renewed=False), need, sight(29.0)) == ExchangeNow(replace(stored, is_renewed=False)), "of another kind"
    for other in (replace(need, unlike=Secret("a")), replace(need, later=True)):
        assert plan(stored, other, sight(29.0)) == ExchangeNow(stored)


def test_an_open_exchange_of_a_dead_process_is_taken_up_at_once() -> None:
    stored = grant(GrantStatus.EXCHANGING, since=0.0)
    assert plan(stored, REFUSED, sight(gone=True)) == ExchangeNow(stored, 2)


def test_an_open_exchange_of_anybody_else_is_watched_for_its_time() -> None:
    stored = grant(GrantStatus.EXCHANGING, since=10.0)
    assert plan(stored, REFUSED, sight()) == Watch(50.0)
    assert plan(replace(stored, since=100.0), REFUSED, sight()) == Watch(15.0), "it may still be saved"
    assert plan(replace(stored, since=100.0), REFUSED, sight(watched=10.0)) == Watch(5.0)
    assert plan(replace(stored, since=100.0), REFUSED, sight(watched=15.0)) == ExchangeNow(replace(stored, since=100.0), 2)
    assert plan(replace(stored, since=0.0), REFUSED, sight(watched=60.0)) == ExchangeNow(replace(stored, since=0.0), 2), "the clock was set"
    assert plan(stored, replace(REFUSED, anyway=True), sight()) == Watch(50.0), "also when a person asks"
    assert plan(stored, REFUSED, sight(), RenewalPolicy(exchange_limit=400.0)) == Watch(390.0), "a person may be asked for a code in it"


def test_a_dead_grant_is_left_alone_unless_a_person_asks() -> None:
    stored = grant(GrantStatus.DEAD, attempts=1)
    assert plan(stored, REFUSED, sight()) == Refuse(stored, GrantStatus.DEAD)
    assert plan(stored, replace(REFUSED, anyway=True), sight()) == ExchangeNow(stored, 2)


def test_an_uncertain_grant_is_shown_again_after_its_pause() -> None:
    stored = grant(GrantStatus.UNCERTAIN, attempts=2, since=10.0)
    assert plan(stored, REFUSED, sight()) == Refuse(stored, GrantStatus.UNCERTAIN, 20.0)
    assert plan(stored, REFUSED, sight(watched=30.0)) == ExchangeNow(stored, 3)
    assert plan(replace(stored, since=31.0), REFUSED, sight()) == ExchangeNow(replace(stored, since=31.0), 3)
    assert plan(stored, replace(REFUSED, anyway=True), sight()) == ExchangeNow(stored, 3)
    assert plan(replace(stored, attempts=1), REFUSED, sight()) == ExchangeNow(replace(stored, attempts=1), 2)


def test_where_repetition_is_punished_nothing_is_shown_twice() -> None:
    strict = RenewalPolicy(repeat_unanswered=False)
    for status in (GrantStatus.UNCERTAIN, GrantStatus.EXCHANGING):
        stored = grant(status, attempts=1)
        assert plan(stored, REFUSED, sight(gone=True), strict) == Refuse(stored, GrantStatus.UNCERTAIN)


@given(
    st.sampled_from(list(GrantStatus)),
    st.floats(0, 1e5),
    st.integers(0, 20),
    NEEDS,
    st.floats(0, 4000),
    st.integers(1, 4),
    st.booleans(),
    st.floats(0, 1e5),
    st.booleans(),
)
def test_no_plan_breaks_a_promise(
    status: GrantStatus, since: float, attempts: int, need: Need, age: float, newer_than: int, gone: bool, watched: float, repeat: bool
) -> None:
    stored = grant(status, since=since, attempts=attempts)
    seen = sight(age, newer_than=newer_than, gone=gone, watched=watched)
    step = plan(stored, need, seen, RenewalPolicy(repeat_unanswered=repeat))
    if isinstance(step, Adopt):
        assert stored.token.access != need.unlike
        assert age < 3600
    elif isinstance(step, Watch):
        assert status is GrantStatus.EXCHANGING
        assert not gone
        assert 0 < step.seconds <= policy.EXCHANGE_LIMIT
    elif isinstance(step, Refuse):
        assert not need.anyway
        assert step.seconds > 0
    else:
        assert step.attempt == (1 if status is GrantStatus.USABLE else attempts + 1)
        if status is GrantStatus.EXCHANGING and not gone:
            assert watched >= policy.SAVE_GRACE
            assert max(since, watched) >= policy.EXCHANGE_LIMIT
        if not need.anyway and status is not GrantStatus.USABLE:
            assert repeat
            assert status is not GrantStatus.DEAD
            assert max(since, watched) >= doubt_pause(attempts)
