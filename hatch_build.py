"""Makes the links of the package's page absolute, where the environment says at which address the source is published.

``UNSPOOL_REPOSITORY=https://HOST/OWNER/unspool`` adds the project's URLs, and points the README's relative links to the files of this version. Without it
the package has no URLs.
"""

from __future__ import annotations

import os
import re
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"\]\((?!https?:|#)([^)\s]+)\)")
_PICTURE = re.compile(r'\b(src|srcset)="(?!https?:)([^"]+)"')


def with_absolute_links(readme: str, repository: str, version: str) -> str:
    """The README as it works away from the repository."""
    readme = _LINK.sub(rf"]({repository}/blob/v{version}/\1)", readme)
    return _PICTURE.sub(rf'\1="{repository}/raw/v{version}/\2"', readme)


class Links(MetadataHookInterface):
    """Fills in ``readme`` and ``urls``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Called by hatchling for each build."""
        with open(os.path.join(self.root, "README.md"), encoding="utf-8") as file:
            readme = file.read()
        repository = os.environ.get("UNSPOOL_REPOSITORY", "").rstrip("/")
        if repository:
            version = metadata["version"]
            readme = with_absolute_links(readme, repository, version)
            metadata["urls"] = {
                "Repository": repository,
                "Documentation": f"{repository}/blob/v{version}/docs/index.md",
                "Changelog": f"{repository}/blob/v{version}/CHANGELOG.md",
                "Issues": f"{repository}/issues",
            }
        else:
            metadata["urls"] = {}
        metadata["readme"] = {"content-type": "text/markdown", "text": readme}
