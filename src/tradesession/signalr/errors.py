"""What can go wrong at a hub beside what can go wrong everywhere; see `tradesession.errors` for the tree.

Pure. Texts of the server stand in the messages with everything masked that was secret on this connection.
"""

from __future__ import annotations

from typing import Final

from tradesession.errors import LinkLost, OutcomeUnknown, Rejected
from tradesession.verdict import Action, Level, Verdict

_HUB_EXCEPTION: Final = "HubException: "


class HubError(Rejected):
    """A hub method, or a stream of one, ended with an error.

    `description` is the server's whole text. `detail` is the part of it that the hub's author wrote for the client (the text of a
    HubException); it is empty where the server hides the reason. A handler that raises a HubError answers the server with its description.
    """

    def __init__(self, description: str, *, method: str = "") -> None:
        super().__init__("an error of the hub", description, request=method, verdict=Verdict(Action.FATAL, Level.REQUEST))
        self.detail = description.partition(_HUB_EXCEPTION)[2]


class HubClosed(LinkLost):
    """The server ended the connection with a Close record. `error` is its text, `allow_reconnect` whether it wants this client back."""

    def __init__(self, error: str, *, allow_reconnect: bool) -> None:
        self.error = error
        self.allow_reconnect = allow_reconnect
        self.verdict = Verdict(Action.RETRY if allow_reconnect else Action.FATAL, Level.LINK)
        wish = "this client may come back" if allow_reconnect else "it does not want this client to come back"
        super().__init__(f"the hub closed the connection ({error or 'it gives no reason'}); {wish}")


class CallLost(LinkLost, OutcomeUnknown):
    """The connection ended before a call was answered that may have effects: it may have been executed, or not.

    Both a LinkLost and an OutcomeUnknown; a call that was marked `repeatable` fails with LinkLost alone.
    """

    verdict = OutcomeUnknown.verdict
