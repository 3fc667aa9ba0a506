"""Two keepers of one slot through any sequence of calls, refusals, failures, lost answers, crashes and outages, in virtual time.

What must hold after every step: no refresh token is honoured twice; it is shown again only after an answer that was lost, or that its
keeper could not save for longer than an exchange may take (to another process that looks the same); and the pair that the issuer takes
is never lost unless an answer was, or the process that could not save it yet: it is in the store, or in use and on its way there.
"""

import asyncio
import random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.tokens.fakes import SLOT, Bench, advance, settle, while_time_passes
from tradesession.errors import Error, ReauthorizationRequired, TokenEndpointUnreachable, UncertainExchange
from tradesession.secrets import Secret
from tradesession.tokens.keeper import TokenKeeper
from tradesession.tokens.token import Token


class TwoKeepers(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner: Any = asyncio.Runner()
        self.bench = self.runner.run(self._begin())
        self.keepers = [self._keeper(1), self._keeper(2)]
        self.callers: list[asyncio.Task[Token]] = []
        self.is_lost = False  # whether the issuer has rotated, and its answer did not come through
        self.unsaved: set[str] = set()  # refresh tokens whose successors were not saved at once

    async def _begin(self) -> Bench:
        bench = Bench(600.0)
        await bench.consent()
        return bench

    def _keeper(self, seed: int) -> TokenKeeper:
        return TokenKeeper(SLOT, self.bench.store, self.bench.issuer, clock=self.bench.clock, random=random.Random(seed).random)

    def _do(self, work: Any) -> None:
        async def done() -> None:
            await work
            await settle()

        self.runner.run(done())

    # --- what may happen -----------------------------------------------------------------------------------------------------------

    @rule(which=st.sampled_from([0, 1]), min_ttl=st.sampled_from([None, 60.0, 10_000.0]))
    def somebody_asks(self, which: int, min_ttl: float | None) -> None:
        async def ask() -> None:
            self.callers.append(asyncio.create_task(self.keepers[which].get(min_ttl)))

        self._do(ask())

    @rule(which=st.sampled_from([0, 1]))
    def a_server_refuses(self, which: int) -> None:
        async def refuse() -> None:
            token = self.keepers[which].peek()
            if token is not None:
                await self.keepers[which].reject(token)

        self._do(refuse())

    @precondition(lambda self: any(not caller.done() for caller in self.callers))
    @rule(chance=st.randoms(use_true_random=False))
    def a_caller_gives_up(self, chance: random.Random) -> None:
        async def give_up() -> None:
            chance.choice([caller for caller in self.callers if not caller.done()]).cancel()

        self._do(give_up())

    @rule(seconds=st.sampled_from([0.1, 1.0, 20.0, 70.0, 300.0]))
    def time_passes(self, seconds: float) -> None:
        self._do(advance(self.bench.clock, seconds))

    @rule(seconds=st.sampled_from([-300.0, 300.0]))
    def the_wall_clock_is_set(self, seconds: float) -> None:
        self.bench.clock.wall_offset += seconds

    @rule(failing=st.sampled_from([set(), {"write"}, {"mark"}, {"note"}, {"release", "extend"}, {"read", "revision", "take", "write"}]))
    def the_store_changes_its_mood(self, failing: set[str]) -> None:
        self.bench.store.failing = set(failing)

    @rule()
    def the_endpoint_cannot_be_reached_once(self) -> None:
        self.bench.issuer.errors.append(TokenEndpointUnreachable("down"))

    @rule()
    def a_request_is_lost_once(self) -> None:
        self.bench.issuer.errors.append(UncertainExchange("no answer"))

    @rule()
    def an_answer_is_lost_once(self) -> None:
        async def lost() -> None:
            self.bench.issuer.after = None
            self.is_lost = True
            raise UncertainExchange("the answer was lost")

        self.bench.issuer.after = lost

    @rule(turns=st.integers(1, 60))
    def answers_are_slow(self, turns: int) -> None:
        async def dawdle() -> None:
            pause = asyncio.Event()
            self.bench.clock.call_at(self.bench.clock.monotonic() + turns, pause.set)
            await pause.wait()

        self.bench.issuer.before = dawdle

    @rule()
    def answers_are_fast(self) -> None:
        self.bench.issuer.before = None

    @rule()
    def a_person_gives_consent_again(self) -> None:
        async def consent() -> None:
            self.bench.store.failing = set()
            await self.bench.store.put(SLOT, self.bench.issuer.consent(), force=True)

        self._do(consent())
        self.is_lost = False

    @rule(which=st.sampled_from([0, 1]))
    def a_process_is_killed(self, which: int) -> None:
        """Everything it had in memory is gone, and an answer that is under way reaches nobody."""

        async def kill() -> None:
            keeper = self.keepers[which]
            for task in tuple(keeper._tasks._tasks):
                task.cancel()
            keeper._unsaved = None
            await keeper.aclose()
            self.keepers[which] = self._keeper(which + 3)

        saved, self.bench.store.failing = self.bench.store.failing, {"read", "write", "mark", "note", "take", "release"}
        self._do(kill())
        self.bench.store.failing = saved
        self.is_lost = self.is_lost or not self.runner.run(self._is_known())

    # --- what must hold ------------------------------------------------------------------------------------------------------------

    @invariant()
    def no_refresh_token_is_honoured_twice(self) -> None:
        assert all(count == 1 for count in self.bench.issuer.exchanged.values())

    @invariant()
    def a_refresh_token_is_shown_again_only_after_no_answer_came_or_was_saved(self) -> None:
        issuer = self.bench.issuer
        pairs = [keeper.peek() for keeper in self.keepers if not keeper.is_saved]
        self.unsaved |= {issuer.spent_for[token.refresh.reveal()] for token in pairs if token is not None and token.refresh is not None}
        assert all(count <= 1 + issuer.unanswered[refresh] for refresh, count in issuer.shown.items() if refresh not in self.unsaved)

    @invariant()
    def the_pair_that_the_issuer_takes_is_known_to_somebody(self) -> None:
        assert self.is_lost or self.runner.run(self._is_known())

    async def _is_known(self) -> bool:
        pairs = [(await self.bench.stored()).token, *(keeper.peek() for keeper in self.keepers)]
        return any(token is not None and token.refresh == Secret(self.bench.issuer.refresh) for token in pairs)

    @invariant()
    def callers_get_tokens_or_errors_of_ours(self) -> None:
        for caller in self.callers:
            if caller.done() and not caller.cancelled() and (error := caller.exception()) is not None:
                assert isinstance(error, Error), error
        self.callers = [caller for caller in self.callers if not caller.done()]

    def teardown(self) -> None:
        """Everything calms down: then everybody agrees, and unless an answer was lost, nobody needed a person."""

        async def calm() -> None:
            self.bench.store.failing = set()
            self.bench.issuer.errors.clear()
            self.bench.issuer.before = self.bench.issuer.after = None
            await advance(self.bench.clock, 4000)
            outcomes = await while_time_passes(self.bench.clock, self._asked())
            if self.is_lost:
                assert all(isinstance(outcome, (Token, ReauthorizationRequired)) for outcome in outcomes), outcomes
            else:
                assert all(isinstance(outcome, Token) for outcome in outcomes), outcomes
                await advance(self.bench.clock, 1)
                in_use = [keeper.peek() for keeper in self.keepers]
                assert all(token is not None and self.bench.issuer.accepts(token) for token in in_use), in_use
            for caller in self.callers:
                caller.cancel()
            await asyncio.gather(*self.callers, return_exceptions=True)
            for keeper in self.keepers:
                await while_time_passes(self.bench.clock, keeper.aclose())

        try:
            self.runner.run(calm())
        finally:
            self.runner.close()

    async def _asked(self) -> list[Token | BaseException]:
        return await asyncio.gather(*(self._served(keeper) for keeper in self.keepers), return_exceptions=True)

    async def _served(self, keeper: TokenKeeper) -> Token:
        """A token that works. One that is handed out while the next one is made may be refused: then say so and ask again."""
        token = await keeper.get()
        if not self.bench.issuer.accepts(token):
            await keeper.reject(token)
            token = await keeper.get()
            assert self.bench.issuer.accepts(token), token
        return token


TwoKeepers.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None, print_blob=False)
TestTwoKeepers = TwoKeepers.TestCase
