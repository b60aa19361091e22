"""What is asked and what came back: configurations, studies, settings, records, outcomes. Knows no torch."""
