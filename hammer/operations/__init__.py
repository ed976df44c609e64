"""For operators: doctor, retention, gauges, readiness and demo data."""
