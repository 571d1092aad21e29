"""The replication: notebooks run under a profile, numbers kept as records, claims judged."""

from odenet.replicate.metrics import estimate, report
from odenet.replicate.trials import Outcome, run_trial

__all__ = ["Outcome", "estimate", "report", "run_trial"]
