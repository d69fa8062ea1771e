#!/bin/sh
# A self-hosted GitHub Actions runner runs this after each job, a cancelled one too. In the
# runner's own .env file (CI_RUN: a name that no other runner on this host has):
#
#   ACTIONS_RUNNER_HOOK_JOB_COMPLETED=/etc/secateur/ci/github-job-completed.sh
#   CI_RUN=github-1
#   COMPOSE_PROJECT_NAME=github-1
#
# One runner does one job at a time, so what carries its name is that job's, or was left by one
# that was cut off. A code other than 0 fails the job.
exec secateur-teardown "${CI_RUN:?is not set: see .env of this runner}"
