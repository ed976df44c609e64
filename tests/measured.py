"""What was counted for Prometheus since a moment."""

from hammer import measures


class Growth:
    """How much counters grew since this was made: `grew("hammer_events_total", kind="signed-in")`."""

    def __init__(self) -> None:
        self._before = _values()

    def __call__(self, name: str, **labels: str) -> float:
        key = name, *sorted(labels.items())
        return _values().get(key, 0.0) - self._before.get(key, 0.0)


def _values() -> dict[tuple[object, ...], float]:
    families = measures.REGISTRY.collect()
    return {(sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples}
