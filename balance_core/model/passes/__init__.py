"""The passes of normalisation, one file each: every pass edits the model it is given, and nothing else."""
