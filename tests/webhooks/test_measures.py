"""Posts to endpoints are counted by what became of them."""

from config import Settings
from hammer.models import WebhookEndpoint
from tests.measured import Growth
from tests.webhooks.receivers import Receiver
from tests.webhooks.steps import deliver, note


def test_a_post_is_counted_by_its_status(settings: Settings, endpoint: WebhookEndpoint, receiver: Receiver) -> None:
    grew = Growth()

    note()
    deliver(settings)
    receiver.refuse(lambda _: True)
    note()
    deliver(settings)

    assert grew("hammer_webhook_posts_total", outcome="2xx") == 1
    assert grew("hammer_webhook_posts_total", outcome="5xx") == 1
    assert sum(grew("hammer_webhook_posts_total", outcome=fault) for fault in ("timeout", "connect", "4xx")) == 0
