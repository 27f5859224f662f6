"""Turn run documents into pages, figures, traces, comparisons and terminal summaries."""
