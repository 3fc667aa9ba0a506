from __future__ import annotations

import pytest

from tradesession.clock import ManualClock
from tradesession.sandbox.ctrader.records import Invalidation
from tradesession.sandbox.ctrader.refusal import GrantRefused, Refusal
from tradesession.sandbox.ctrader.settings import Settings
from tradesession.sandbox.ctrader.state import Application, Ctid, Grant, State


class World:
    def __init__(self, seed: int = 1) -> None:
        self.clock = ManualClock()
        self.settings = Settings()
        self.state = State(seed, self.clock, self.settings)
        self.application: Application = self.state.add_application(["http://127.0.0.1:9000/callback?x=1", "https://bot.example/back"])
        self.person: Ctid = self.state.add_ctid()
        self.account = self.state.add_account(self.person)
        self.deaths: list[Invalidation] = []
        self.state.on_invalidation(self.deaths.append)

    def code(self) -> str:
        return self.state.add_code(self.application, self.person, "trading", [self.account.id], "https://bot.example/back")

    def exchange(self, code: str, redirect_uri: str = "https://bot.example/back") -> Grant:
        return self.state.exchange_code(code, redirect_uri, self.application)


@pytest.fixture
def world() -> World:
    return World()


def test_the_same_seed_makes_the_same_world_and_another_one_another() -> None:
    def fingerprint(seed: int) -> tuple[object, ...]:
        world = World(seed)
        grant = world.state.add_grant(world.application, world.person)
        return world.application.client_secret, world.account.id, world.account.login, grant.access_token, grant.refresh_token

    assert fingerprint(5) == fingerprint(5)
    assert not set(fingerprint(5)) & set(fingerprint(6))


def test_ids_and_logins_are_never_the_same(world: World) -> None:
    accounts = [world.state.add_account(world.person) for _ in range(500)]
    numbers = [number for account in accounts for number in (account.id, account.login)]
    assert len(set(numbers)) == len(numbers)


def test_no_token_or_secret_shows_in_a_repr(world: World) -> None:
    grant = world.state.add_grant(world.application, world.person)
    shown = repr(grant) + repr(world.application) + repr(Invalidation(grant.access_token, "gone"))
    for secret in (grant.access_token, grant.refresh_token, world.application.client_secret):
        assert secret not in shown


def test_a_code_is_exchanged_once(world: World) -> None:
    code = world.code()
    grant = world.exchange(code)
    assert (grant.accounts, grant.scope, grant.expires_in) == ([world.account], "trading", 2_628_000)
    with pytest.raises(GrantRefused, match="used before"):
        world.exchange(code)


def test_a_code_lives_for_one_minute(world: World) -> None:
    early, late = world.code(), world.code()
    world.clock.advance(59.9)
    assert world.exchange(early).accounts == [world.account]
    world.clock.advance(0.1)
    with pytest.raises(GrantRefused, match="expired"):
        world.exchange(late)


def test_a_code_is_bound_to_its_redirect_and_its_application(world: World) -> None:
    with pytest.raises(GrantRefused, match="redirect_uri"):
        world.exchange(world.code(), "https://bot.example/other")
    with pytest.raises(GrantRefused, match="unknown"):
        world.state.exchange_code(world.code(), "https://bot.example/back", world.state.add_application())


def test_a_refresh_makes_both_old_tokens_invalid_at_once(world: World) -> None:
    grant = world.state.add_grant(world.application, world.person)
    old_access, old_refresh = grant.access_token, grant.refresh_token
    world.clock.advance(100)
    rotated, death = world.state.refresh(old_refresh, world.application)
    assert rotated is grant
    assert (death.access_token, grant.expires_at) == (old_access, world.clock.monotonic() + grant.expires_in)
    with pytest.raises(Refusal, match="CH_ACCESS_TOKEN_INVALID"):
        world.state.grant_of(old_access)
    with pytest.raises(GrantRefused, match="used before"):
        world.state.refresh(old_refresh, world.application)
    assert world.state.grant_of(grant.access_token) is grant
    assert (world.state.exchanges[old_refresh], world.state.rotations, grant.rotations) == (2, 1, 1)


def test_a_refresh_leaves_other_grants_alone(world: World) -> None:
    first, second = (world.state.add_grant(world.application, world.person) for _ in range(2))
    world.state.refresh(first.refresh_token, world.application)
    assert world.state.grant_of(second.access_token) is second
    assert world.state.refresh(second.refresh_token, world.application)[0] is second


def test_an_expired_token_is_told_from_one_that_never_was_and_can_still_be_refreshed(world: World) -> None:
    grant = world.state.add_grant(world.application, world.person, expires_in=60)
    world.clock.advance(60)
    with pytest.raises(Refusal, match="OA_AUTH_TOKEN_EXPIRED"):
        world.state.grant_of(grant.access_token)
    world.settings.expired_code = "CH_ACCESS_TOKEN_INVALID"
    with pytest.raises(Refusal, match="CH_ACCESS_TOKEN_INVALID"):
        world.state.grant_of(grant.access_token)
    world.state.refresh(grant.refresh_token, world.application)
    assert world.state.grant_of(grant.access_token) is grant


def test_a_revoked_grant_is_dead_for_good_and_announced(world: World) -> None:
    grant = world.state.add_grant(world.application, world.person)
    world.state.revoke(grant)
    assert [death.access_token for death in world.deaths] == [grant.access_token]
    with pytest.raises(Refusal):
        world.state.grant_of(grant.access_token)
    with pytest.raises(GrantRefused):
        world.state.refresh(grant.refresh_token, world.application)


@pytest.mark.parametrize("ends", [False, True])
def test_whether_a_new_consent_ends_the_old_refresh_token_is_a_setting(world: World, ends: bool) -> None:
    world.settings.consent_ends_refresh_token = ends
    old = world.exchange(world.code())
    world.exchange(world.code())
    if ends:
        with pytest.raises(GrantRefused):
            world.state.refresh(old.refresh_token, world.application)
    else:
        assert world.state.refresh(old.refresh_token, world.application)[0] is old


def test_a_grant_covers_accounts_that_come_later_unless_some_were_chosen(world: World) -> None:
    everything = world.state.add_grant(world.application, world.person)
    chosen = world.state.add_grant(world.application, world.person, account_ids=[world.account.id])
    later = world.state.add_account(world.person, is_live=True)
    assert (everything.accounts, chosen.accounts) == ([world.account, later], [world.account])


@pytest.mark.parametrize(
    ("uri", "accepted"),
    [
        ("http://127.0.0.1:9000/callback?x=1", True),
        ("http://127.0.0.1:12345/callback?x=1", True),
        ("http://127.0.0.1/callback?x=1", True),
        ("https://bot.example/back", True),
        ("https://bot.example:444/back", False),
        ("http://127.0.0.1:9000/callback", False),
        ("http://127.0.0.1:9000/elsewhere?x=1", False),
        ("http://127.0.0.1:9000/callback?x=1#part", False),
        ("http://user@127.0.0.1:9000/callback?x=1", False),
        ("http://127.0.0.2:9000/callback?x=1", False),
        ("http://localhost:9000/callback?x=1", False),
        ("https://127.0.0.1:9000/callback?x=1", False),
        ("http://127.0.0.1:port/callback?x=1", False),
        ("http://127.0.0.1:9000.evil.example/callback?x=1", False),
        ("", False),
    ],
)
def test_a_redirect_goes_to_a_registered_address_or_to_its_loopback_twin_on_another_port(world: World, uri: str, accepted: bool) -> None:
    assert world.state.accepts_redirect(world.application, uri) is accepted
