"""The report for an auditor: what was seen, judged and written."""
