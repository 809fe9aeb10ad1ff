"""Slack's Web API as the source needs it: who the bot is, a channel's history, a thread. All through the guard.

Slack answers 200 for nearly everything; `ok` tells. Each method may be called so often a minute: calls of one method
keep SPACING_S between them, and after a 429 none is made before its Retry-After. Tokens are in no error.
"""

import time
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlencode

import msgspec

from b3os.detect.slack import Bot, Page
from b3os.errors import ActionFailed, B3osError
from b3os.net.http import GuardedClient, Response
from services.master.sources.refusals import LIMIT_S, Limited, PlaceRefused, Refused, Unreadable, retry_after_s

BASE = "https://slack.com/api"
HISTORY, REPLIES, WHO = "conversations.history", "conversations.replies", "auth.test"
#: Fifty calls a minute are allowed of the methods that we poll.
SPACING_S = 1.2
#: The most that Slack gives in one page; it may give fewer.
PAGE = 999
MAX_BYTES = 16 * 1024 * 1024
TIMEOUT_S = 20.0

#: Error codes after which the token is no good anywhere.
TOKEN_ERRORS = frozenset(
    {
        "invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "user_removed_from_team",
        "team_disabled", "team_access_not_granted", "access_denied", "enterprise_is_restricted", "org_login_required",
        "ekm_access_denied",
    }
)  # fmt: skip
#: Error codes that concern one conversation, and what helps.
PLACE_ERRORS = {
    "channel_not_found": "check the id, and invite the bot to the channel",
    "not_in_channel": "invite the bot to the channel",
    "is_archived": "unarchive the channel, or watch another",
    "missing_scope": "give the app the scopes channels:history and groups:history, and install it again",
    "no_permission": "give the app the scopes channels:history and groups:history, and install it again",
    "not_allowed_token_type": "give the app the scopes channels:history and groups:history, and install it again",
}

AnswerT = TypeVar("AnswerT", bound=msgspec.Struct)


class _Who(msgspec.Struct):
    ok: bool
    error: str = ""
    user_id: str = ""
    bot_id: str = ""


class SlackWeb:
    """The calls of one token."""

    def __init__(
        self,
        http: GuardedClient,
        base: str,
        *,
        spacing_s: float = SPACING_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = http
        self._base = base
        self._spacing_s = spacing_s
        self._monotonic = monotonic
        self._free_at: dict[str, float] = {}
        self.token = ""

    def wait_s(self, method: str) -> float:
        """Return how long the method must not be called."""
        return max(0.0, self._free_at.get(method, 0.0) - self._monotonic())

    async def who(self) -> Bot:
        """Return whose token it is."""
        found = _read(await self._call(WHO, {}), _Who)
        if not found.ok:
            raise _error_of(found.error)
        if not found.user_id:
            raise Unreadable("Slack does not say whose token it is: try again")
        return Bot(found.user_id, found.bot_id)

    async def history(self, channel: str, oldest: str, cursor: str) -> Page:
        """Return one page of a channel, the messages later than `oldest`."""
        return await self._page(HISTORY, {"channel": channel, "oldest": oldest, "cursor": cursor})

    async def replies(self, channel: str, thread: str, oldest: str, cursor: str) -> Page:
        """Return one page of a thread, the replies later than `oldest`."""
        return await self._page(REPLIES, {"channel": channel, "ts": thread, "oldest": oldest, "cursor": cursor})

    async def _page(self, method: str, fields: dict[str, str]) -> Page:
        page = _read(await self._call(method, {**fields, "limit": str(PAGE)}), Page)
        if not page.ok:
            raise _error_of(page.error)
        return page

    async def _call(self, method: str, fields: dict[str, str]) -> Response:
        self._free_at[method] = self._monotonic() + self._spacing_s
        body = urlencode({name: value for name, value in fields.items() if value}).encode()
        headers = {
            "authorization": f"Bearer {self.token}",
            "content-type": "application/x-www-form-urlencoded",
            "accept": "application/json",
        }
        url = f"{self._base}/{method}"
        try:
            answer = await self._http.request(
                "POST", url, headers=headers, body=body, timeout_s=TIMEOUT_S, max_bytes=MAX_BYTES, max_redirects=0
            )
        except ActionFailed as error:
            raise Unreadable(f"Slack does not answer {method}: {error.message}; it is asked again") from error
        if answer.status == 429:
            wait_s = retry_after_s(answer.headers.get("retry-after", ""), time.time())
            self._free_at[method] = self._monotonic() + wait_s
            raise Limited(f"Slack allows no more calls of {method} for {wait_s:g} s: wait", wait_s)
        if answer.status >= 500 or (answer.status != 200 and answer.status < 400):
            raise Unreadable(f"Slack answers {method} with HTTP {answer.status}; it is asked again")
        return answer


def _read(answer: Response, kind: type[AnswerT]) -> AnswerT:
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Unreadable("Slack's answer is not what its Web API says; it is asked again") from error


def _error_of(code: str) -> B3osError:
    """Return what Slack's error code means."""
    code = code[:100] or "no reason"
    if code in TOKEN_ERRORS:
        return Refused(f"Slack refuses the bot's token ({code}): put a valid one into the connector")
    if code in PLACE_ERRORS:
        return PlaceRefused(f"Slack refuses the channel ({code}): {PLACE_ERRORS[code]}")
    if code in ("ratelimited", "rate_limited"):
        return Limited("Slack allows no more calls: wait", LIMIT_S)
    return Unreadable(f"Slack says {code}; it is asked again", reason=code)
