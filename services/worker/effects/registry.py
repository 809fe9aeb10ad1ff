"""Every effect by node type."""

from services.worker.effects.call import Effect
from services.worker.effects.code_transform import run_code
from services.worker.effects.db_query import query
from services.worker.effects.org_storage import get, list_keys
from services.worker.effects.send_webhook import send
from services.worker.effects.trigger_workflow import trigger

EFFECTS: dict[str, Effect] = {
    "code-transform": run_code,
    "db-query": query,
    "org-storage-get": get,
    "org-storage-list": list_keys,
    "send-webhook": send,
    "trigger-workflow": trigger,
}
