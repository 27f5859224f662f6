"""Prove the rules of stream units by k-induction."""
