"""The runner: notebooks run under a profile, numbers kept as records, claims judged."""

from replication.runner.metrics import estimate, report
from replication.runner.trials import Outcome, TrialError, run_trial, run_trials

__all__ = ["Outcome", "TrialError", "estimate", "report", "run_trial", "run_trials"]
