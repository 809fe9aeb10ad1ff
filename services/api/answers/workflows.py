"""Workflows, their versions and schedules."""

from typing import Any, Literal

from b3os.workflow.problems import Problem
from services.api.answers.base import Answer, Page


class Workflow(Answer, frozen=True, kw_only=True):
    """A workflow with the definition of its newest version."""

    id: str
    organization_id: str
    name: str
    description: str
    status: Literal["draft", "active", "paused", "archived"]
    type: str
    version: int
    definition: dict[str, Any]
    cooldown_ms: int
    max_runs: int | None
    remain_runs: int | None
    paused_reason: str | None
    visibility: str
    trigger_secret: str | None
    ui_metadata: dict[str, Any]
    has_draft: bool
    has_live_version: bool
    created_by: str
    updated_by: str
    created_at: str
    updated_at: str
    last_triggered_at: str | None


class Schedule(Answer, frozen=True, kw_only=True):
    """The slots of a workflow's cron triggers; `nextRuns` are in `timezone`, also while nothing listens."""

    next_run_at: str | None
    last_run_at: str | None
    next_runs: list[str]
    timezone: str
    server_time: str


class TriggerProblem(Answer, frozen=True, kw_only=True):
    """Why a published trigger listens to nothing: `reason` is pattern, payload, trigger, or source for a refusal."""

    node_id: str
    reason: str
    message: str
    found_at: str


class WorkflowInFull(Workflow, frozen=True, kw_only=True):
    """A workflow, and what the masters cannot read of its published triggers."""

    trigger_problems: list[TriggerProblem]


class Refilled(Answer, frozen=True, kw_only=True):
    """How many runs a workflow has left."""

    workflow_id: str
    remain_runs: int


class Verdict(Answer, frozen=True, kw_only=True):
    """Every problem of a definition."""

    valid: bool
    errors: list[Problem]


class Version(Answer, frozen=True, kw_only=True):
    """One line of a workflow's history; `version` and `versionNumber` are the same."""

    version: int
    version_number: int
    name: str
    status: Literal["live", "draft"]
    created_by: str
    created_at: str
    published_at: str | None


class Versions(Page[Version], frozen=True, kw_only=True):
    """A workflow's history, and its newest version."""

    current_version: int
