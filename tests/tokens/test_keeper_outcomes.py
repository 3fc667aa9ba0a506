"""What a keeper makes of each way an exchange can end, and what it says."""

import asyncio
import itertools

import pytest

from tests.tokens.fakes import SLOT, Bench, advance, settle, while_time_passes
from tradesession.errors import (
    Error,
    ReauthorizationRequired,
    StoreUnreachable,
    TokenEndpointUnreachable,
    TokenError,
    TokenRefused,
    UncertainExchange,
)
from tradesession.protocol.http import HttpReply
from tradesession.secrets import Secret
from tradesession.tokens.keeper import TokenKeeper
from tradesession.tokens.renewal import RenewalPolicy
from tradesession.tokens.replies import Asked, GrantKind, read_oauth
from tradesession.tokens.store import GrantStatus
from tradesession.tokens.token import Token
from tradesession.verdict import Action, Level, Verdict


async def test_an_exchange_without_an_answer_is_repeated_once(bench: Bench) -> None:
    await bench.expired()
    bench.issuer.errors = [UncertainExchange("no answer")]
    token = await while_time_passes(bench.clock, bench.keeper().get())
    assert token.generation == 2
    assert bench.issuer.calls == 2
    assert (await bench.stored()).status is GrantStatus.USABLE


@pytest.mark.parametrize(("failures", "is_served"), [(2, True), (3, False)])
async def test_an_endpoint_that_answers_with_a_failure_is_asked_three_times(bench: Bench, failures: int, is_served: bool) -> None:
    await bench.expired()
    reply = HttpReply(status=502)
    for _ in range(failures):
        error = read_oauth(reply, Asked(GrantKind.REFRESH_TOKEN, "the endpoint"))
        assert isinstance(error, UncertainExchange)
        bench.issuer.errors.append(error)
    asking = while_time_passes(bench.clock, bench.keeper().get())
    if is_served:
        assert (await asking).generation == 2
    else:
        with pytest.raises(UncertainExchange, match="HTTP 502"):
            await asking
        assert (await bench.stored()).attempts == 3
    assert bench.issuer.calls == 3


async def test_two_exchanges_without_an_answer_leave_the_grant_uncertain(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    bench.issuer.errors = [UncertainExchange("no answer: give consent again")] * 100
    with pytest.raises(UncertainExchange, match="no answer: give consent again") as caught:
        await while_time_passes(bench.clock, keeper.get())
    assert caught.value.verdict == Verdict(Action.RETRY_AFTER, Level.TOKEN, after=30.0)
    grant = await bench.stored()
    assert (grant.status, grant.attempts) == (GrantStatus.UNCERTAIN, 2)
    assert bench.issuer.calls == 2
    with pytest.raises(UncertainExchange):
        await keeper.get()
    with pytest.raises(UncertainExchange, match=r"it is tried again in \d+ s; .*|no answer"):
        await bench.keeper(2).get()
    assert bench.issuer.calls == 2, "neither here nor in another process"


async def test_an_uncertain_grant_is_tried_again_with_growing_pauses(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    bench.issuer.errors = [UncertainExchange("no answer")] * 6
    with pytest.raises(UncertainExchange):
        await while_time_passes(bench.clock, keeper.get())
    calls = []
    for _ in range(1200):
        await advance(bench.clock, 1)
        calls.append(bench.issuer.calls)
    grown = [second for second in range(1, 1200) if calls[second] != calls[second - 1]]
    assert calls[-1] == 7
    assert [later - earlier for earlier, later in itertools.pairwise(grown)] == pytest.approx([60, 120, 240, 480], abs=20)
    assert (await keeper.get()).generation == 2


async def test_an_uncertain_grant_that_turns_out_spent_needs_a_person(bench: Bench) -> None:
    """The first exchange was honoured, and its answer lost; the repetition finds the refresh token spent."""
    await bench.expired()
    keeper = bench.keeper()

    async def lost() -> None:
        bench.issuer.after = None
        raise UncertainExchange("connection reset")

    bench.issuer.after = lost
    with pytest.raises(ReauthorizationRequired, match=r"invalid_grant.*; an exchange of this refresh token before got no answer"):
        await while_time_passes(bench.clock, keeper.get())
    assert (await bench.stored()).status is GrantStatus.DEAD
    assert bench.issuer.shown.most_common(1)[0][1] == 2


async def test_an_issuer_that_punishes_repetition_is_asked_once(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper(numbers=RenewalPolicy(repeat_unanswered=False))
    bench.issuer.errors = [UncertainExchange("no answer")]
    with pytest.raises(UncertainExchange) as caught:
        await keeper.get()
    assert caught.value.verdict == Verdict(Action.REAUTHORIZE, Level.TOKEN)
    await advance(bench.clock, 86400)
    with pytest.raises(UncertainExchange, match="no answer"):
        await keeper.get()
    with pytest.raises(UncertainExchange, match="no answer"):
        await bench.keeper(numbers=RenewalPolicy(repeat_unanswered=False)).get()
    assert bench.issuer.calls == 1
    await bench.store.put(SLOT, bench.issuer.consent())
    await settle()
    assert (await keeper.get()).generation == 2


async def test_an_endpoint_that_goes_away_after_an_unanswered_exchange_leaves_it_uncertain(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    bench.issuer.errors = [UncertainExchange("no answer"), TokenEndpointUnreachable("connection refused")]
    with pytest.raises(UncertainExchange, match="no answer; repeating it failed: connection refused"):
        await while_time_passes(bench.clock, keeper.get())
    grant = await bench.stored()
    assert (grant.status, grant.attempts) == (GrantStatus.UNCERTAIN, 1)
    await advance(bench.clock, 30)
    assert (await keeper.get()).generation == 2


async def test_an_endpoint_that_was_not_reached_leaves_the_grant_usable(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    bench.issuer.errors = [TokenEndpointUnreachable("connection refused")]
    with pytest.raises(TokenEndpointUnreachable, match="connection refused"):
        await keeper.get()
    grant = await bench.stored()
    assert (grant.status, grant.attempts, grant.cause) == (GrantStatus.USABLE, 0, "")


async def test_an_endpoint_that_cannot_be_trusted_is_asked_rarely(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    error = TokenEndpointUnreachable("the certificate is another host's")
    error.verdict = Verdict(Action.FATAL, Level.TOKEN)
    bench.issuer.errors = [error] * 10
    for _ in range(600):
        with pytest.raises(TokenEndpointUnreachable) as caught:
            await keeper.get()
        assert caught.value.verdict.action is Action.FATAL
        await advance(bench.clock, 1)
    assert bench.issuer.calls <= 3


async def test_a_refused_client_is_asked_rarely(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    bench.issuer.errors = [TokenRefused("invalid_client: check the secret", code="invalid_client")]
    for _ in range(3):
        with pytest.raises(TokenRefused, match="invalid_client: check the secret") as caught:
            await keeper.get()
        assert caught.value.code == "invalid_client"
    assert bench.issuer.calls == 1
    assert (await bench.stored()).status is GrantStatus.USABLE
    await advance(bench.clock, 301)
    assert (await keeper.get()).generation == 2


async def test_a_dead_grant_is_remembered_and_the_endpoint_left_alone(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    bench.issuer.errors = [ReauthorizationRequired("revoked: give consent again")]
    for _ in range(5):
        with pytest.raises(ReauthorizationRequired, match="revoked: give consent again"):
            await keeper.get()
        await advance(bench.clock, 3600)
    with pytest.raises(ReauthorizationRequired, match="revoked: give consent again"):
        await bench.keeper(2).get()
    assert bench.issuer.calls == 1
    grant = await bench.stored()
    assert (grant.status, grant.cause) == (GrantStatus.DEAD, "revoked: give consent again")


async def test_a_dead_grant_wakes_up_with_a_new_consent(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    bench.issuer.errors = [ReauthorizationRequired("revoked")]
    with pytest.raises(ReauthorizationRequired):
        await keeper.get()
    changes = keeper.changes()
    waiting = asyncio.ensure_future(anext(changes))
    await settle()
    new = await bench.store.put(SLOT, bench.issuer.consent())
    assert await waiting == new
    assert await keeper.get() == new
    assert (await bench.stored()).status is GrantStatus.USABLE


async def test_a_dead_grant_is_remembered_even_if_the_store_could_not_be_told(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    bench.issuer.errors = [ReauthorizationRequired("revoked")]
    bench.store.failing = {"mark"}
    for _ in range(5):
        with pytest.raises(ReauthorizationRequired, match="revoked"):
            await while_time_passes(bench.clock, keeper.get())
        await advance(bench.clock, 600)
    assert bench.issuer.calls == 1


async def test_a_good_token_of_a_dead_grant_is_served_to_its_end(bench: Bench) -> None:
    """The grant was revoked with hours left of the access token: the session goes on, and the log asks for a person early."""
    await bench.consent()
    keeper = bench.keeper()
    await keeper.get()
    bench.issuer.errors = [ReauthorizationRequired("revoked")]
    await advance(bench.clock, 3000)
    assert bench.issuer.calls == 1
    await advance(bench.clock, 590)
    token = await keeper.get()
    assert token.generation == 1
    with pytest.raises(ReauthorizationRequired):
        await keeper.get(60)
    await keeper.reject(token)
    with pytest.raises(ReauthorizationRequired):
        await keeper.get()
    assert bench.issuer.calls == 1


async def test_a_person_may_try_a_dead_grant_again(bench: Bench) -> None:
    """The endpoint was wrong, or the person knows better."""
    await bench.expired()
    keeper = bench.keeper()
    bench.issuer.errors = [ReauthorizationRequired("revoked")]
    with pytest.raises(ReauthorizationRequired):
        await keeper.get()
    assert (await keeper.renew()).generation == 2
    assert (await bench.stored()).status is GrantStatus.USABLE


async def test_a_refusal_that_somebody_overtook_is_no_refusal(bench: Bench) -> None:
    """Another process rotated with a store of its own view; ours is told no, and the store has the newer pair by then."""
    await bench.expired()
    keeper = bench.keeper()

    async def overtaken() -> None:
        bench.issuer.before = None
        await bench.store.put(SLOT, bench.issuer.consent(), force=True)

    bench.issuer.before = overtaken
    token = await while_time_passes(bench.clock, _patient(keeper))
    assert token.generation == 2
    assert (await bench.stored()).status is GrantStatus.USABLE


async def _patient(keeper: TokenKeeper) -> Token:
    try:
        return await keeper.get()
    except ReauthorizationRequired:
        return await keeper.get()


async def test_what_an_exchange_must_not_raise_counts_as_unanswered(bench: Bench) -> None:
    await bench.expired()

    async def broken(token: Token | None) -> Token:
        raise KeyError("a bug, whose text might hold anything")

    keeper = TokenKeeper(SLOT, bench.store, broken, clock=bench.clock, random=lambda: 0.5)
    bench.keepers.append(keeper)
    with pytest.raises(
        UncertainExchange, match="failed with KeyError and may have been sent; the refresh token may be spent: if it is, give consent"
    ):
        await while_time_passes(bench.clock, keeper.get())


async def test_an_exchange_that_never_ends_is_given_up(bench: Bench) -> None:
    await bench.expired()
    bench.issuer.before = asyncio.Event().wait
    began = bench.clock.monotonic()
    with pytest.raises(UncertainExchange, match="was not answered within 60 s; the refresh token may be spent"):
        await while_time_passes(bench.clock, bench.keeper().get())
    assert bench.clock.monotonic() - began == pytest.approx(120, abs=2)


async def test_without_any_token_a_person_is_asked(bench: Bench) -> None:
    with pytest.raises(ReauthorizationRequired, match="there is no refresh token: give consent"):
        await bench.keeper().get()
    assert await bench.store.load(SLOT) is None


async def test_a_grant_that_needs_no_token_begins_from_nothing(bench: Bench) -> None:
    """client_credentials, password and jwt_bearer: nothing to spend, nothing to note, one exchange for all keepers."""
    calls = 0

    async def from_nothing(token: Token | None) -> Token:
        nonlocal calls
        calls += 1
        wall = bench.clock.wall()
        return Token(access=Secret(f"a{calls}"), issued_at=wall, expires_at=wall + 600)

    keepers = [TokenKeeper(SLOT, bench.store, from_nothing, clock=bench.clock, random=lambda: 0.5) for _ in range(4)]
    bench.keepers += keepers
    for generation in (1, 2):
        tokens = [await while_time_passes(bench.clock, keeper.get()) for keeper in keepers]
        assert {token.generation for token in tokens} == {generation}
        assert calls == generation
        await advance(bench.clock, 500)


def answered(status: int, kind: GrantKind, **headers: str) -> TokenError:
    error = read_oauth(HttpReply(status=status, headers={name.replace("_", "-"): headers[name] for name in headers}), Asked(kind, "there"))
    assert isinstance(error, TokenError)
    return error


CREDENTIALS = (GrantKind.CLIENT_CREDENTIALS, GrantKind.JWT_BEARER, GrantKind.PASSWORD)


@pytest.mark.parametrize("kind", CREDENTIALS)
@pytest.mark.parametrize("status", [502, 503, 504])
@pytest.mark.parametrize(("failures", "is_served"), [(2, True), (3, False)])
async def test_an_endpoint_that_fails_is_asked_three_times_where_nothing_can_be_spent(
    bench: Bench, kind: GrantKind, status: int, failures: int, is_served: bool
) -> None:
    errors: list[Error] = [answered(status, kind) for _ in range(failures)]
    keeper, asked = from_nothing(bench, errors)
    asking = while_time_passes(bench.clock, keeper.get())
    if is_served:
        assert (await asking).generation == 1
    else:
        with pytest.raises(TokenEndpointUnreachable, match=f"HTTP {status}"):
            await asking
    assert len(asked) == 3


@pytest.mark.parametrize("kind", CREDENTIALS)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429])
async def test_a_refused_credential_is_sent_once(bench: Bench, kind: GrantKind, status: int) -> None:
    keeper, asked = from_nothing(bench, [answered(status, kind)])
    with pytest.raises(TokenError):
        await while_time_passes(bench.clock, keeper.get())
    assert len(asked) == 1


@pytest.mark.parametrize("kind", CREDENTIALS)
async def test_an_endpoint_that_names_a_wait_is_not_asked_again_at_once(bench: Bench, kind: GrantKind) -> None:
    keeper, asked = from_nothing(bench, [answered(503, kind, retry_after="7")])
    with pytest.raises(TokenEndpointUnreachable) as caught:
        await while_time_passes(bench.clock, keeper.get())
    assert (len(asked), caught.value.retry_after) == (1, 7.0)


async def test_a_password_that_may_have_been_counted_as_wrong_is_not_sent_again_at_once(bench: Bench) -> None:
    keeper, asked = from_nothing(bench, [answered(500, GrantKind.PASSWORD)])
    with pytest.raises(TokenEndpointUnreachable):
        await while_time_passes(bench.clock, keeper.get())
    assert len(asked) == 1


@pytest.mark.parametrize("kind", [GrantKind.REFRESH_TOKEN, GrantKind.AUTHORIZATION_CODE])
async def test_what_works_once_is_not_shown_again_to_an_endpoint_that_has_not_looked_at_it(bench: Bench, kind: GrantKind) -> None:
    await bench.expired()
    bench.issuer.errors = [answered(503, kind)]
    with pytest.raises(TokenEndpointUnreachable):
        await while_time_passes(bench.clock, bench.keeper().get())
    assert bench.issuer.calls == 1


def from_nothing(bench: Bench, errors: list[Error]) -> tuple[TokenKeeper, list[Token | None]]:
    """A keeper whose exchange needs no token and meets these errors first; what it was asked with."""
    asked: list[Token | None] = []

    async def exchange(token: Token | None) -> Token:
        asked.append(token)
        if errors:
            raise errors.pop(0)
        wall = bench.clock.wall()
        return Token(access=Secret("a"), issued_at=wall, expires_at=wall + 600)

    keeper = TokenKeeper(SLOT, bench.store, exchange, clock=bench.clock, random=lambda: 0.5)
    bench.keepers.append(keeper)
    return keeper, asked


async def test_a_thousand_callers_get_the_same_failure_without_growing_it(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    bench.issuer.errors = [TokenRefused("no")]
    errors = await asyncio.gather(*(keeper.get() for _ in range(1000)), return_exceptions=True)
    assert {type(error) for error in errors} == {TokenRefused}
    depth = 0
    trace = errors[0].__traceback__ if isinstance(errors[0], TokenRefused) else None
    while trace is not None:
        depth, trace = depth + 1, trace.tb_next
    assert depth < 20
    assert bench.issuer.calls == 1


async def test_the_error_of_a_failed_renewal_reaches_everybody_once_and_is_cleared(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    bench.issuer.errors = [TokenEndpointUnreachable("down")]
    errors = await asyncio.gather(keeper.get(), keeper.get(), return_exceptions=True)
    assert [str(error) for error in errors] == ["down", "down"]
    await advance(bench.clock, 5)
    assert (await keeper.get()).generation == 2


async def test_store_errors_are_not_blamed_on_the_grant(bench: Bench) -> None:
    await bench.expired()
    keeper = bench.keeper()
    bench.store.failing = {"mark"}
    bench.issuer.errors = [TokenEndpointUnreachable("down")]
    with pytest.raises(TokenEndpointUnreachable):
        await keeper.get()
    bench.store.failing = set()
    assert (await while_time_passes(bench.clock, _until_served(keeper, bench))).generation == 2
    assert bench.issuer.exchanged.total() == 1


async def _until_served(keeper: TokenKeeper, bench: Bench) -> Token:
    while True:
        try:
            return await keeper.get()
        except (TokenEndpointUnreachable, StoreUnreachable):
            pause = asyncio.Event()
            bench.clock.call_at(bench.clock.monotonic() + 1, pause.set)
            await pause.wait()
