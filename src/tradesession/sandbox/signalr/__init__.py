"""SignalR hubs as ASP.NET Core serves them, for the platforms of the sandbox that have one.

Its own code from the first byte, so that a mistake of the client cannot hide in both. It knows no platform, no token and no HTTP path:
whoever uses it gives it hubs, good bearers and upgraded requests.
"""
