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
from tradesession.errors import UnknownAccount

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
        self._cause: Exception | None = None

    @classmethod
    def of(cls, message: ProtoOACtidTraderAccount) -> Account:
        """An account as the account list tells it."""
        return cls(
            _signed(message.ctidTraderAccountId),
            login=message.traderLogin if message.HasField("traderLogin") else None,
            is_live=message.isLive if message.HasField("isLive") else None,
            broker=text(message.brokerTitleShort),
        )

    @property
    def state(self) -> AccountState:
        """How the account stands."""
        return self._state

    @property
    def cause(self) -> Exception | None:
        """Why it is not AUTHORIZED; None when it is, or was never otherwise."""
        return self._cause

    def enter(self, state: AccountState, cause: Exception | None = None) -> None:
        """For the session: the account stands otherwise now. While it is AUTHORIZING, the last cause stands."""
        self._state = state
        if state is not AccountState.AUTHORIZING:
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

    def merge(self, chosen: Sequence[Account], is_live: bool) -> list[Account]:
        """For the session: these were chosen on one host. Known accounts stay the objects that they are; those of the host, in order.

        An account that was chosen before and is no longer granted is SUSPENDED.
        """
        mine: list[Account] = []
        for account in chosen:
            known = self._by_id.get(account.id)
            if known is None:
                known = self._by_id[account.id] = account
                self._accounts.append(account)
            known.login, known.broker, known.is_live = account.login, account.broker, is_live
            mine.append(known)
        for account in self._accounts:
            if account.is_live == is_live and account not in mine:
                account.enter(
                    AccountState.SUSPENDED, UnknownAccount(f"account {account.id} is no longer among those that the token grants")
                )
        return mine

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


def _signed(number: int) -> int:
    """The same 64 bits as every other message has them: the account list alone writes the id as uint64, the rest as int64."""
    return number - (1 << 64) if number >> 63 else number


def choose(granted: Sequence[Account], config: Config, *, is_one_of_two: bool = False) -> Accounts:
    """The accounts to authorise on the link of `config.environment`.

    Raises UnknownAccount when something that was asked for is not granted, belongs to the other environment, or when nothing is left; for
    `is_one_of_two` links what belongs to the other one is the other one's, and having nothing is no error.
    """
    live = config.environment == "live"
    here = [account for account in granted if account.is_live in (live, None)]
    asked = _asked(granted, config)
    for what, found in asked.items():
        if not found:
            raise UnknownAccount(f"{what} is not among the accounts that the token grants: {Accounts(granted)}")
        if not is_one_of_two and not any(account in here for account in found):
            other = "demo" if live else "live"
            raise UnknownAccount(f"{what} is a {other} account and this session is for {config.environment}: set environment={other!r}")
    wanted = [account for found in asked.values() for account in found] if asked else here
    chosen = Accounts(account for account in here if account in wanted)
    if not chosen and not is_one_of_two:
        raise UnknownAccount(f"the token grants no {config.environment} account; it grants {Accounts(granted)}")
    return chosen


def _asked(granted: Sequence[Account], config: Config) -> dict[str, list[Account]]:
    """Which accounts each thing that was asked for stands for; empty when everything is wanted."""
    asked = {f"account {account_id}": [a for a in granted if a.id == account_id] for account_id in config.accounts}
    asked |= {f"login {login}": [a for a in granted if a.login == login] for login in config.logins}
    asked |= {f"broker {broker!r}": [a for a in granted if a.broker.lower() == broker.lower()] for broker in config.brokers}
    return asked
