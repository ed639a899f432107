"""The anchors of a Markdown page, as GitHub and GitLab make them of headings."""

import re
from pathlib import Path


def anchors(page: Path) -> set[str]:
    """Lower case, punctuation away, blanks to dashes."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#{1,6} (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}
