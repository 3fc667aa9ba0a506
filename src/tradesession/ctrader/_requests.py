"""The request method of a cTrader session, typed: whoever sends a request knows the class of its reply.

Generated from proto/ctrader by scripts/gen-proto: change the .proto files, not this one.
It holds types and no behaviour: how a request travels is for the class that inherits it to say.
"""

from abc import ABC, abstractmethod
from typing import overload

from google.protobuf.message import Message

from tradesession.ctrader import messages as pb


class TypedRequests(ABC):
    """Gives `request` one signature for each request message; whoever inherits it writes `_request` only."""

    @abstractmethod
    async def _request(self, message: Message, timeout: float | None, *, wait: bool = True) -> Message:
        """Send the request and return the reply that belongs to it."""

    @overload
    async def request(
        self, message: pb.ProtoOAApplicationAuthReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOAApplicationAuthRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOAAccountAuthReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOAAccountAuthRes: ...
    @overload
    async def request(self, message: pb.ProtoOAVersionReq, *, timeout: float | None = None, wait: bool = True) -> pb.ProtoOAVersionRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOANewOrderReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOAExecutionEvent: ...
    @overload
    async def request(
        self, message: pb.ProtoOACancelOrderReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOAExecutionEvent: ...
    @overload
    async def request(
        self, message: pb.ProtoOAAmendOrderReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOAExecutionEvent: ...
    @overload
    async def request(
        self, message: pb.ProtoOAAmendPositionSLTPReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOAExecutionEvent: ...
    @overload
    async def request(
        self, message: pb.ProtoOAClosePositionReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOAExecutionEvent: ...
    @overload
    async def request(
        self, message: pb.ProtoOAAssetListReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOAAssetListRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOASymbolsListReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOASymbolsListRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOASymbolByIdReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOASymbolByIdRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOASymbolsForConversionReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOASymbolsForConversionRes: ...
    @overload
    async def request(self, message: pb.ProtoOATraderReq, *, timeout: float | None = None, wait: bool = True) -> pb.ProtoOATraderRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOAReconcileReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOAReconcileRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOASubscribeSpotsReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOASubscribeSpotsRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOAUnsubscribeSpotsReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOAUnsubscribeSpotsRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOADealListReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOADealListRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOASubscribeLiveTrendbarReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOASubscribeLiveTrendbarRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOAUnsubscribeLiveTrendbarReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOAUnsubscribeLiveTrendbarRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOAGetTrendbarsReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOAGetTrendbarsRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOAExpectedMarginReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOAExpectedMarginRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOACashFlowHistoryListReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOACashFlowHistoryListRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOAGetTickDataReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOAGetTickDataRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOAGetAccountListByAccessTokenReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOAGetAccountListByAccessTokenRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOAGetCtidProfileByTokenReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOAGetCtidProfileByTokenRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOAAssetClassListReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOAAssetClassListRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOASubscribeDepthQuotesReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOASubscribeDepthQuotesRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOAUnsubscribeDepthQuotesReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOAUnsubscribeDepthQuotesRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOASymbolCategoryListReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOASymbolCategoryListRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOAAccountLogoutReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOAAccountLogoutRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOAMarginCallListReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOAMarginCallListRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOAMarginCallUpdateReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOAMarginCallUpdateRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOARefreshTokenReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOARefreshTokenRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOAOrderListReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOAOrderListRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOAGetDynamicLeverageByIDReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOAGetDynamicLeverageByIDRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOADealListByPositionIdReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOADealListByPositionIdRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOAOrderDetailsReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOAOrderDetailsRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOAOrderListByPositionIdReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOAOrderListByPositionIdRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOADealOffsetListReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOADealOffsetListRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOAGetPositionUnrealizedPnLReq, *, timeout: float | None = None, wait: bool = True
    ) -> pb.ProtoOAGetPositionUnrealizedPnLRes: ...
    async def request(self, message: Message, *, timeout: float | None = None, wait: bool = True) -> Message:
        """Send a request and return its reply, whose class the request decides.

        The five order requests are answered by their first `ProtoOAExecutionEvent`. `timeout` is in seconds, from this call until the
        reply; None takes the session's own. While there is no connection the request waits for one as long; with `wait=False` it fails
        at once. Raises `tradesession.Rejected` when the server refuses, `tradesession.NotSent` when the request never left,
        `tradesession.DeadlineExceeded` when a question stayed without an answer, and `tradesession.OutcomeUnknown` when something that
        has effects left and no answer came.
        """
        return await self._request(message, timeout, wait=wait)
