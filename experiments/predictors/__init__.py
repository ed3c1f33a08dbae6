"""Command: which measures predict grokking, and how early."""
