"""Starts runs as Dagster does by default, and knows whether a run's process is still there.

Dagster's own launcher cannot detect this: a run that went down with its machine would be "started" for ever, and keep
all later refreshes waiting. dagster.yaml names this class; Dagster's run monitoring asks it.
"""

import dagster as dg
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value


class WatchedRunLauncher(DefaultRunLauncher):
    """Dagster's default launcher that also reports whether a run still has its process."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """It does; so run monitoring watches runs that have started."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """FAILED when the code server that started the run is gone, or has no process for it any more.

        What cannot be known counts as running: a run started from a terminal has no code server, and one that is
        slow to answer is not gone. For these there is max_runtime_seconds.
        """
        client = self._get_grpc_client_for_termination(run.run_id)  # type: ignore[no-untyped-call]
        if client is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "It was started without a code server.")
        try:
            answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id))
        except DagsterUserCodeUnreachableError as error:
            if "UNAVAILABLE" in str(error):
                return CheckRunHealthResult(WorkerStatus.FAILED, "The process that ran it is gone.")
            return CheckRunHealthResult(WorkerStatus.RUNNING, "Its code server is slow to answer.")
        alive = deserialize_value(answer, CanCancelExecutionResult).can_cancel
        if alive:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, "Its process ended without a word: it was killed, or crashed.")
