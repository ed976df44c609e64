"""Traces of OpenTelemetry, for operators who switch them on."""
