"""When a key was last used: noted in the store, at most once a minute and key, so that a busy key costs nothing."""

from b3os.store import orgs
from services.api.house import House
from services.api.wire import Request

PERIOD_S = 60.0
#: Keys remembered; forgetting them all costs one statement for each.
REMEMBERED = 10_000
AGENT_LIMIT = 500


class KeyUses:
    """The keys that this process has seen lately."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._noted: dict[str, float] = {}

    async def note(self, request: Request, now_s: float) -> None:
        """Note that a request came with a key."""
        assert request.principal is not None, "a key was checked before"
        key_id = request.principal.key_id
        if now_s - self._noted.get(key_id, -PERIOD_S) < PERIOD_S:
            return
        if len(self._noted) >= REMEMBERED:
            self._noted.clear()
        self._noted[key_id] = now_s
        agent = request.headers.get("user-agent", "")[:AGENT_LIMIT].replace("\x00", "")
        await orgs.touch_api_key(self._house.pool, request.org_id, key_id, ip=request.client, user_agent=agent)
