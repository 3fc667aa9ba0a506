"""The SignalR hub protocol of ASP.NET Core, client side, in JSON: negotiation, records, one connection, its resumption and its renewal.

Pure. The facts are those of a real ASP.NET Core server where one was seen, else of Microsoft's HubProtocol and TransportProtocols
documents.
"""
