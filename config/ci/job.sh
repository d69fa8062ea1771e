#!/bin/sh
# A job in plain shell, from cron or from any other CI: job.sh RUN COMMAND...
#
# RUN is a name for this job's place that ends with a number, such as nightly-1; two jobs at once
# need two names. What an earlier run of the same name left behind, killed before its own teardown,
# is removed first.
# What this job deploys under the run's name is removed, too, with its volumes.
set -eu

# job-: no RUN can be the name of a project that is to stay, such as shop.
CI_RUN=job-${1:?RUN is missing}
COMPOSE_PROJECT_NAME=$CI_RUN
export CI_RUN COMPOSE_PROJECT_NAME
shift

# The job's own exit code takes precedence over the teardown's.
leave() {
    job=$?
    secateur-teardown "$CI_RUN" || [ "$job" != 0 ] || job=1
    exit "$job"
}

# A deploy lock that hangs (65) or an engine that is away is no reason to leave the job undone: it is
# said here, and fails this run at its end. What the teardown refuses (2) could never be ended.
secateur-teardown "$CI_RUN" || {
    before=$?
    [ "$before" != 2 ] || exit 2
    printf 'job.sh: the teardown before the job ended with %s\n' "$before" >&2
}
trap leave EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
"$@"
