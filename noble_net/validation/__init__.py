"""Whether a network on surrogate cores does what it does on a reference: runs, measures, verdicts, report."""
