"""Who calls, organizations and keys."""

from typing import Literal

from services.api.answers.base import Answer, Scope


class Bootstrapped(Answer, frozen=True, kw_only=True):
    """A new organization; `apiKey` is shown here and never again."""

    org_id: str
    org_slug: str
    api_key: str
    initial_cu_grant: int
    expires_at: str | None
    claim_url: str | None
    status: Literal["created"]


class Caller(Answer, frozen=True, kw_only=True):
    """Whose key it is, and what it may do."""

    organization_id: str
    user_id: str | None
    key_id: str
    scope: Scope


class Organization(Answer, frozen=True, kw_only=True):
    """A tenant."""

    id: str
    name: str
    slug: str
    description: str
    photo: str
    tier: str
    cu_min_threshold: float
    created_by: str
    created_at: str
    updated_at: str


class Member(Answer, frozen=True, kw_only=True):
    """A person's place in an organization."""

    id: str
    organization_id: str
    user_id: str
    user_email: str
    role: Literal["owner", "developer"]
    invited_by: str
    created_at: str
    updated_at: str


class ApiKey(Answer, frozen=True, kw_only=True):
    """An API key without its secret."""

    id: str
    organization_id: str
    name: str
    description: str
    key_prefix: str
    scope: Scope
    service_account_id: str | None
    user_id: str | None
    created_by: str
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    last_used_ip: str | None
    last_used_user_agent: str | None


class NewApiKey(ApiKey, frozen=True, kw_only=True):
    """An API key with its secret, `key`, which is shown here and never again."""

    key: str
