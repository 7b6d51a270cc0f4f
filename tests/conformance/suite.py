"""One behavioural suite for every store: through the real loop, a real nats-server and the real medium.

A store's module subclasses `StoreConformance`, and says in its fixtures which medium is under test.
"""

from __future__ import annotations

from tests.conformance.content import ContentConformance
from tests.conformance.delivery import DeliveryConformance
from tests.conformance.trouble import TroubleConformance


class StoreConformance(ContentConformance, DeliveryConformance, TroubleConformance):
    """What every store must do."""
