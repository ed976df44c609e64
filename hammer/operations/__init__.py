"""What operators need: doctor, retention, gauges, readiness, and demo data."""
