"""Heads: what stands on a backbone's features, and answers with a logit a class; `registry` names them all."""
