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
    async def _request(self, message: Message, timeout: float | None) -> Message:
        """Send the request and return the reply that belongs to it."""

    @overload
    async def request(self, message: pb.ProtoOAApplicationAuthReq, *, timeout: float | None = None) -> pb.ProtoOAApplicationAuthRes: ...
    @overload
    async def request(self, message: pb.ProtoOAAccountAuthReq, *, timeout: float | None = None) -> pb.ProtoOAAccountAuthRes: ...
    @overload
    async def request(self, message: pb.ProtoOAVersionReq, *, timeout: float | None = None) -> pb.ProtoOAVersionRes: ...
    @overload
    async def request(self, message: pb.ProtoOANewOrderReq, *, timeout: float | None = None) -> pb.ProtoOAExecutionEvent: ...
    @overload
    async def request(self, message: pb.ProtoOACancelOrderReq, *, timeout: float | None = None) -> pb.ProtoOAExecutionEvent: ...
    @overload
    async def request(self, message: pb.ProtoOAAmendOrderReq, *, timeout: float | None = None) -> pb.ProtoOAExecutionEvent: ...
    @overload
    async def request(self, message: pb.ProtoOAAmendPositionSLTPReq, *, timeout: float | None = None) -> pb.ProtoOAExecutionEvent: ...
    @overload
    async def request(self, message: pb.ProtoOAClosePositionReq, *, timeout: float | None = None) -> pb.ProtoOAExecutionEvent: ...
    @overload
    async def request(self, message: pb.ProtoOAAssetListReq, *, timeout: float | None = None) -> pb.ProtoOAAssetListRes: ...
    @overload
    async def request(self, message: pb.ProtoOASymbolsListReq, *, timeout: float | None = None) -> pb.ProtoOASymbolsListRes: ...
    @overload
    async def request(self, message: pb.ProtoOASymbolByIdReq, *, timeout: float | None = None) -> pb.ProtoOASymbolByIdRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOASymbolsForConversionReq, *, timeout: float | None = None
    ) -> pb.ProtoOASymbolsForConversionRes: ...
    @overload
    async def request(self, message: pb.ProtoOATraderReq, *, timeout: float | None = None) -> pb.ProtoOATraderRes: ...
    @overload
    async def request(self, message: pb.ProtoOAReconcileReq, *, timeout: float | None = None) -> pb.ProtoOAReconcileRes: ...
    @overload
    async def request(self, message: pb.ProtoOASubscribeSpotsReq, *, timeout: float | None = None) -> pb.ProtoOASubscribeSpotsRes: ...
    @overload
    async def request(self, message: pb.ProtoOAUnsubscribeSpotsReq, *, timeout: float | None = None) -> pb.ProtoOAUnsubscribeSpotsRes: ...
    @overload
    async def request(self, message: pb.ProtoOADealListReq, *, timeout: float | None = None) -> pb.ProtoOADealListRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOASubscribeLiveTrendbarReq, *, timeout: float | None = None
    ) -> pb.ProtoOASubscribeLiveTrendbarRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOAUnsubscribeLiveTrendbarReq, *, timeout: float | None = None
    ) -> pb.ProtoOAUnsubscribeLiveTrendbarRes: ...
    @overload
    async def request(self, message: pb.ProtoOAGetTrendbarsReq, *, timeout: float | None = None) -> pb.ProtoOAGetTrendbarsRes: ...
    @overload
    async def request(self, message: pb.ProtoOAExpectedMarginReq, *, timeout: float | None = None) -> pb.ProtoOAExpectedMarginRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOACashFlowHistoryListReq, *, timeout: float | None = None
    ) -> pb.ProtoOACashFlowHistoryListRes: ...
    @overload
    async def request(self, message: pb.ProtoOAGetTickDataReq, *, timeout: float | None = None) -> pb.ProtoOAGetTickDataRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOAGetAccountListByAccessTokenReq, *, timeout: float | None = None
    ) -> pb.ProtoOAGetAccountListByAccessTokenRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOAGetCtidProfileByTokenReq, *, timeout: float | None = None
    ) -> pb.ProtoOAGetCtidProfileByTokenRes: ...
    @overload
    async def request(self, message: pb.ProtoOAAssetClassListReq, *, timeout: float | None = None) -> pb.ProtoOAAssetClassListRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOASubscribeDepthQuotesReq, *, timeout: float | None = None
    ) -> pb.ProtoOASubscribeDepthQuotesRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOAUnsubscribeDepthQuotesReq, *, timeout: float | None = None
    ) -> pb.ProtoOAUnsubscribeDepthQuotesRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOASymbolCategoryListReq, *, timeout: float | None = None
    ) -> pb.ProtoOASymbolCategoryListRes: ...
    @overload
    async def request(self, message: pb.ProtoOAAccountLogoutReq, *, timeout: float | None = None) -> pb.ProtoOAAccountLogoutRes: ...
    @overload
    async def request(self, message: pb.ProtoOAMarginCallListReq, *, timeout: float | None = None) -> pb.ProtoOAMarginCallListRes: ...
    @overload
    async def request(self, message: pb.ProtoOAMarginCallUpdateReq, *, timeout: float | None = None) -> pb.ProtoOAMarginCallUpdateRes: ...
    @overload
    async def request(self, message: pb.ProtoOARefreshTokenReq, *, timeout: float | None = None) -> pb.ProtoOARefreshTokenRes: ...
    @overload
    async def request(self, message: pb.ProtoOAOrderListReq, *, timeout: float | None = None) -> pb.ProtoOAOrderListRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOAGetDynamicLeverageByIDReq, *, timeout: float | None = None
    ) -> pb.ProtoOAGetDynamicLeverageByIDRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOADealListByPositionIdReq, *, timeout: float | None = None
    ) -> pb.ProtoOADealListByPositionIdRes: ...
    @overload
    async def request(self, message: pb.ProtoOAOrderDetailsReq, *, timeout: float | None = None) -> pb.ProtoOAOrderDetailsRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOAOrderListByPositionIdReq, *, timeout: float | None = None
    ) -> pb.ProtoOAOrderListByPositionIdRes: ...
    @overload
    async def request(self, message: pb.ProtoOADealOffsetListReq, *, timeout: float | None = None) -> pb.ProtoOADealOffsetListRes: ...
    @overload
    async def request(
        self, message: pb.ProtoOAGetPositionUnrealizedPnLReq, *, timeout: float | None = None
    ) -> pb.ProtoOAGetPositionUnrealizedPnLRes: ...
    async def request(self, message: Message, *, timeout: float | None = None) -> Message:
        """Send a request and return its reply, whose class the request decides.

        The five order requests are answered by their first `ProtoOAExecutionEvent`. `timeout` is in seconds, from this call until the
        reply; None takes the session's own. Raises `tradesession.Rejected` when the server refuses, `tradesession.NotSent` when the
        request never left, `tradesession.DeadlineExceeded` when a question stayed without an answer, and `tradesession.OutcomeUnknown`
        when something that has effects left and no answer came.
        """
        return await self._request(message, timeout)
