"""The page of all measures: what each is, and what it does on a run that groks and on others."""
