"""The replication: notebooks run under a profile, numbers kept as records, claims judged."""

from odenet.replicate.metrics import estimate, report
from odenet.replicate.trials.ask import Outcome, TrialError, run_trial, run_trials

__all__ = ["Outcome", "TrialError", "estimate", "report", "run_trial", "run_trials"]
