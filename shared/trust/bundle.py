"""The one Flower bundle there is: two names and no code, the same at the coordinator and at every member.

Raise ``VERSION`` when names or keys change: a member refuses every other bundle.
"""

from typing import Any

SERVER_APP = "fedrepay.server.network.app:app"
CLIENT_APP = "fedrepay.client.node.app:app"
PUBLISHER, NAME, VERSION = "fedrepay", "fedrepay-bundle", "2.1.0"
PROJECT_FILE, MANIFEST = "pyproject.toml", ".info/CONTENT"
FILES = frozenset({PROJECT_FILE, MANIFEST})
PROJECT: dict[str, Any] = {
    "project": {"name": NAME, "version": VERSION},
    "tool": {
        "flwr": {
            "app": {
                "publisher": PUBLISHER,
                "components": {"serverapp": SERVER_APP, "clientapp": CLIENT_APP},
                "config": {
                    "coordinator-folder": "",
                    "members": 0,
                    "without": "",
                    "new-roster": False,
                    "ask-only": "",
                },
            }
        }
    },
}
"""The parsed project file; ``config`` holds every key that a run may set."""
