"""The trading accounts of a session: which ones the grant knows, which ones were chosen, and how each of them stands.

Pure. `Account.id` is the ctidTraderAccountId; the number that the terminal shows is `Account.login`. A server may tell the id alone.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from tradesession.ctrader.config import Config
from tradesession.ctrader.judge import text
from tradesession.ctrader.messages import ProtoOACtidTraderAccount
from tradesession.errors import Error, UnknownAccount

if TYPE_CHECKING:
    from tradesession.tokens.token import Token


class AccountState(enum.Enum):
    """Where one account stands on its link."""

    UNKNOWN = "UNKNOWN"
    AUTHORIZING = "AUTHORIZING"
    AUTHORIZED = "AUTHORIZED"
    SUSPENDED = "SUSPENDED"
    """Not usable now; `Account.cause` tells why."""


class Account:
    """One trading account. The session alone changes its state."""

    __slots__ = ("_cause", "_state", "broker", "id", "is_live", "login", "token")

    def __init__(self, account_id: int, *, login: int | None = None, is_live: bool | None = None, broker: str = "") -> None:
        self.id = account_id
        """ctidTraderAccountId: what every request wants."""
        self.login = login
        """traderLogin: the number that the terminal shows; None when the server does not tell."""
        self.is_live = is_live
        """Whether it is served by the live host; None when the server does not tell."""
        self.broker = broker
        """brokerTitleShort; empty when the server does not tell."""
        self.token: Token | None = None
        """The token it was authorised with."""
        self._state = AccountState.UNKNOWN
        self._cause: Error | None = None

    @classmethod
    def of(cls, message: ProtoOACtidTraderAccount) -> Account:
        """An account as the account list tells it."""
        return cls(
            message.ctidTraderAccountId,
            login=message.traderLogin if message.HasField("traderLogin") else None,
            is_live=message.isLive if message.HasField("isLive") else None,
            broker=text(message.brokerTitleShort),
        )

    @property
    def state(self) -> AccountState:
        """How the account stands."""
        return self._state

    @property
    def cause(self) -> Error | None:
        """Why it is SUSPENDED; None otherwise."""
        return self._cause

    def enter(self, state: AccountState, cause: Error | None = None) -> None:
        """For the session: the account stands otherwise now."""
        self._state = state
        self._cause = cause

    def __str__(self) -> str:
        kind = {True: "live", False: "demo", None: "demo or live"}[self.is_live]
        known = [f"login {self.login}"] if self.login is not None else []
        known += [self.broker] if self.broker else []
        return f"{self.id} ({', '.join([*known, kind])})"

    def __repr__(self) -> str:
        return f"<Account {self} {self._state.value}>"


class Accounts(Sequence[Account]):
    """The accounts of a session, in the order in which the server lists them."""

    def __init__(self, accounts: Iterable[Account] = ()) -> None:
        self._accounts = list(accounts)
        self._by_id = {account.id: account for account in self._accounts}

    def only(self) -> Account:
        """The one account. Raises UnknownAccount, listing them, when there are several or none."""
        if len(self._accounts) != 1:
            raise UnknownAccount(f"there is not one account but {len(self)}: choose one of {self}, by accounts, logins or brokers")
        return self._accounts[0]

    def by_id(self, account_id: int) -> Account:
        """The account with this ctidTraderAccountId. Raises UnknownAccount, which lists the known ones."""
        if account_id not in self._by_id:
            raise UnknownAccount(f"account {account_id} is not in this session; it has {self}")
        return self._by_id[account_id]

    def by_login(self, login: int) -> Account:
        """The account with this login. Raises UnknownAccount, which lists the known ones."""
        for account in self._accounts:
            if account.login == login:
                return account
        raise UnknownAccount(f"login {login} is not in this session; it has {self}")

    def get(self, account_id: int) -> Account | None:
        """The account with this ctidTraderAccountId, or None."""
        return self._by_id.get(account_id)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # int and slice as Sequence says
        return self._accounts[index]

    def __len__(self) -> int:
        return len(self._accounts)

    def __iter__(self) -> Iterator[Account]:
        return iter(self._accounts)

    def __str__(self) -> str:
        return ", ".join(map(str, self._accounts)) or "none"

    def __repr__(self) -> str:
        return f"<Accounts {self}>"


def choose(granted: Sequence[Account], config: Config) -> Accounts:
    """The accounts to authorise on the link of `config.environment`.

    Raises UnknownAccount when something that was asked for is not granted, belongs to the other environment, or when nothing is left.
    """
    live = config.environment == "live"
    here = [account for account in granted if account.is_live in (live, None)]
    elsewhere = [account for account in granted if account not in here]
    chosen: list[Account] = []
    for account_id in config.accounts:
        chosen += _matching(f"account {account_id}", here, elsewhere, config, [a for a in granted if a.id == account_id])
    for login in config.logins:
        chosen += _matching(f"login {login}", here, elsewhere, config, [a for a in granted if a.login == login])
    for broker in config.brokers:
        chosen += _matching(f"broker {broker!r}", here, elsewhere, config, [a for a in granted if a.broker.lower() == broker.lower()])
    if not (config.accounts or config.logins or config.brokers):
        chosen = here
    if not chosen:
        raise UnknownAccount(f"the token grants no {config.environment} account; it grants {Accounts(granted)}")
    return Accounts(account for account in here if account in chosen)


def _matching(asked: str, here: list[Account], elsewhere: list[Account], config: Config, found: list[Account]) -> list[Account]:
    usable = [account for account in found if account in here]
    if usable:
        return usable
    if any(account in elsewhere for account in found):
        other = "demo" if config.environment == "live" else "live"
        raise UnknownAccount(f"{asked} is a {other} account and this session is for {config.environment}: set environment={other!r}")
    raise UnknownAccount(f"{asked} is not among the accounts that the token grants: {Accounts([*here, *elsewhere])}")
