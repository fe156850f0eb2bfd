"""The body that a client is sending, read as its framing says: by its length, or in chunks.

Source: RFC 9112 6.3, 7.1; design section 4.
"""

from gateway.config.snapshot import ClientLimits
from gateway.errors import Refusal, RefusalCode
from gateway.http.chunks import BrokenChunks, ChunkDecoder, Trailers
from gateway.proxy.exchange import Exchange
from gateway.proxy.incoming import bad


class IncomingBody:
    """One body, handed on to its request as it comes.

    Attributes:
        is_complete: Whether it has come to its end.
        trailers: The fields behind its last chunk.
        refusal: Why neither it nor anything behind it can be read, None while it can.
    """

    __slots__ = (
        "_awaited_bytes", "_chunks", "_takes_underscores", "is_complete", "refusal", "trailers",
    )  # fmt: skip

    def __init__(self, exchange: Exchange, limits: ClientLimits) -> None:
        self.is_complete = False
        self.trailers: Trailers = []
        self.refusal: Refusal | None = None
        self._awaited_bytes = exchange.content_length
        self._takes_underscores = limits.underscores == "forward"
        self._chunks = (
            ChunkDecoder(limits.head_bytes_max, limits.header_count_max)
            if exchange.is_chunked
            else None
        )

    def feed(self, exchange: Exchange, data: bytes, at: int) -> int:
        """Hand on what of ``data`` is body, from a place in it; return where reading stopped."""
        if self._chunks is not None:
            return self._feed_chunks(self._chunks, exchange, data, at)
        stop = min(len(data), at + self._awaited_bytes)
        self._awaited_bytes -= stop - at
        exchange.body_data(data if not at and stop == len(data) else data[at:stop])
        self.is_complete = not self._awaited_bytes
        return stop

    def _feed_chunks(self, chunks: ChunkDecoder, exchange: Exchange, data: bytes, at: int) -> int:
        pieces: list[bytes] = []
        try:
            at = chunks.feed(data, at, pieces)
        except BrokenChunks as error:
            at = len(data)
            self.refusal = (
                Refusal(RefusalCode.HEAD_TOO_LARGE)
                if error.is_too_large
                else bad("The framing of the body is broken.")
            )
        for piece in pieces:
            exchange.body_data(piece)
        if self.refusal is None and chunks.is_complete:
            self.is_complete = True
            self.trailers = [
                pair for pair in chunks.trailers if self._takes_underscores or b"_" not in pair[0]
            ]
        return at
