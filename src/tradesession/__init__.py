"""tradesession: an asyncio session layer for trading platforms."""
