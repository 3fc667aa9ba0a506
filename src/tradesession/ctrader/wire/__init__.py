"""The messages of the cTrader wire as protobuf classes. Import them from `tradesession.ctrader.messages`.

Generated from proto/ctrader by scripts/gen-proto: change the .proto files, not this one.
"""
