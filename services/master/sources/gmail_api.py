"""Gmail's API over Pipedream's proxy, as the source needs it: where a mailbox is, what came, what a search finds."""

import time
from typing import Any, TypeVar

import msgspec

from b3os.detect.gmail import Mail
from b3os.net.http import Response
from services.master.sources.pipedream import Pipedream
from services.master.sources.refusals import LIMIT_S, Limited, Refused, Unreadable, retry_after_s

BASE = "https://gmail.googleapis.com/gmail/v1/users/me"
#: The most that Gmail lists in one page.
PAGE = 500
#: Google's words for too many calls.
LIMITS = frozenset({"userRateLimitExceeded", "rateLimitExceeded", "quotaExceeded", "dailyLimitExceeded"})
#: What a page that Gmail does not know any more is answered with: the pages are read from the first.
NO_PAGE = "no such page"

AnswerT = TypeVar("AnswerT", bound=msgspec.Struct)


class Profile(msgspec.Struct, rename="camel"):
    """Where the mailbox is now."""

    history_id: str


class Labelled(msgspec.Struct, rename="camel"):
    """A message as the history lists it."""

    id: str
    label_ids: list[str] | None = None


class _Added(msgspec.Struct):
    message: Labelled


class _Record(msgspec.Struct, rename="camel"):
    messages_added: list[_Added] = []


class History(msgspec.Struct, rename="camel"):
    """A page of what changed. `history_id` is where the mailbox was when it answered."""

    history_id: str
    history: list[_Record] = []
    next_page_token: str = ""

    @property
    def added(self) -> dict[str, Labelled]:
        """The messages that were added, each once, in order."""
        return {one.message.id: one.message for record in self.history for one in record.messages_added}


class Listed(msgspec.Struct, rename="camel"):
    """A page of a list, newest first."""

    messages: list[Labelled] = []
    next_page_token: str = ""


class _Error(msgspec.Struct):
    reason: str = ""


class _Problem(msgspec.Struct):
    status: str = ""
    message: str = ""
    errors: list[_Error] = []


class _Refusal(msgspec.Struct):
    error: _Problem


class Expired(Exception):
    """The history from this id on is not kept any more."""


class Mailbox:
    """The calls of one account."""

    def __init__(self, pipedream: Pipedream, org_id: str) -> None:
        self._pipedream = pipedream
        self._org_id = org_id
        self.account_id = ""

    def wait_s(self) -> float:
        """Return how long no call may be made."""
        return self._pipedream.wait_s()

    async def profile(self) -> Profile:
        """Return where the mailbox is."""
        return _read(_checked(await self._get("/profile", {})), Profile)

    async def history(self, start: str, page: str) -> History:
        """Return a page of what was added after an id; raises Expired when that is too long ago."""
        query = {"startHistoryId": start, "historyTypes": "messageAdded", "maxResults": PAGE}
        answer = await self._get("/history", {**query, **({"pageToken": page} if page else {})})
        if _is_missing(answer):
            raise Expired
        found = _read(_checked(answer), History)
        _must_go_on(page, found.next_page_token)
        return found

    async def search(self, query: str, page: str) -> Listed:
        """Return a page of what a search finds, spam and trash left out."""
        asked = {"q": query, "maxResults": PAGE, **({"pageToken": page} if page else {})}
        found = _read(_checked(await self._get("/messages", asked)), Listed)
        _must_go_on(page, found.next_page_token)
        return found

    async def labels(self, message_id: str) -> Mail | None:
        """Return when a message came and its labels, or None when it was deleted meanwhile."""
        answer = await self._get(f"/messages/{message_id}", {"format": "minimal"})
        return None if _is_missing(answer) else _read(_checked(answer), Mail)

    async def message(self, message_id: str) -> tuple[Mail, dict[str, Any]] | None:
        """Return a whole message, or None when it was deleted meanwhile."""
        answer = await self._get(f"/messages/{message_id}", {"format": "full"})
        if _is_missing(answer):
            return None
        body = _checked(answer).body
        mail = _read(answer, Mail)
        return mail, dict(msgspec.json.decode(body))

    async def _get(self, path: str, query: dict[str, Any]) -> Response:
        return await self._pipedream.get(self._org_id, self.account_id, BASE + path, query)


def _must_go_on(page: str, following: str) -> None:
    if page and page == following:
        raise Unreadable("a page of the mailbox is followed by itself: it is read again from the first", reason=NO_PAGE)


def _read(answer: Response, kind: type[AnswerT]) -> AnswerT:
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Unreadable("Gmail's answer is not what its API says; it is asked again") from error


def _problem(answer: Response) -> _Problem:
    try:
        return msgspec.json.decode(answer.body, type=_Refusal).error
    except (msgspec.DecodeError, ValueError, RecursionError):
        return _Problem()


def _is_missing(answer: Response) -> bool:
    """Whether Google itself says that there is no such thing: a 404 of anybody else proves nothing."""
    if answer.status != 404:
        return False
    problem = _problem(answer)
    return problem.status == "NOT_FOUND" or any(one.reason == "notFound" for one in problem.errors)


def _checked(answer: Response) -> Response:
    """Return an answer that is no refusal; Pipedream's own refusals never come here."""
    if answer.status == 200:
        return answer
    problem = _problem(answer)
    reasons = {one.reason for one in problem.errors}
    if answer.status in (403, 429) and reasons & LIMITS:
        wait_s = retry_after_s(answer.headers.get("retry-after", str(LIMIT_S)), time.time())
        raise Limited(f"Gmail allows no more calls for {wait_s:g} s: wait", wait_s)
    if answer.status in (401, 403):
        why = ", ".join(sorted(reasons)) or problem.status or str(answer.status)
        raise Refused(f"Gmail refuses the account ({why[:100]}): connect the mailbox again")
    lost = NO_PAGE if answer.status == 400 else ""
    raise Unreadable(f"Gmail answers HTTP {answer.status}; it is asked again", reason=lost)
