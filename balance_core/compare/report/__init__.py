"""How a comparison is shown: terminal, Markdown, CSV, JSON, and one page."""
