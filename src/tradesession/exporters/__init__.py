"""Exporters: hooks that hand the records to logging, to Prometheus and to OpenTelemetry.

They know records and nothing else of this library. `log` is there by default; the others are extras, imported where they are wanted:
`from tradesession.exporters.prometheus import PrometheusExporter`.
"""

from tradesession.exporters.log import LogExporter

__all__ = ["LogExporter"]
