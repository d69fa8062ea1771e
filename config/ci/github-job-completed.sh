#!/bin/sh
# A self-hosted GitHub Actions runner runs this after each job, also after a cancelled one. Copy
# this file to the path below first. In the runner's own .env file (CI_RUN: a name that no other
# runner on this host has):
#
#   ACTIONS_RUNNER_HOOK_JOB_COMPLETED=/etc/secateur/ci/github-job-completed.sh
#   CI_RUN=github-1
#   COMPOSE_PROJECT_NAME=github-1
#
# A runner runs one job at a time, so whatever has its name belongs to that job, or was left by one
# that was cut off. An exit code other than 0 fails the job.
# A job that deploys needs a COMPOSE_PROJECT_NAME of its own: what has the runner's name is removed.
exec secateur-teardown "${CI_RUN:?is not set: see .env of this runner}"
