"""Rows that tests of several packages need."""

from b3os.store import workflows
from b3os.store.orgs import create_org
from b3os.store.pool import Pool


async def make_workflow(pool: Pool, workflow: str, org: str = "org_a") -> None:
    """Make and publish a workflow with a manual trigger; its organization too, where it is missing."""
    if not await pool.fetchval("select exists(select 1 from organizations where org_id = $1)", org):
        await create_org(pool, org, name=org, slug=org, by="user_1")
    definition = {"nodes": {"root": {"type": "manual", "payload": {}}}}
    await workflows.create_workflow(pool, org, workflow, name=workflow, definition=definition, by="user_1")
    triggers = [workflows.PublishedTrigger("root", "manual", {})]
    await workflows.publish(pool, org, workflow, triggers=triggers, by="u", new_secret=lambda: f"s-{workflow}")
