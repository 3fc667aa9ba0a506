"""The cTrader Open API."""
