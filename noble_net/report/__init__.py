"""Looking at runs: statistics, plots, the HTML report, comparing runs."""
