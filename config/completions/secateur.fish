# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_secateur_global_optspecs
    string join \n policy= host= state-dir= format= v/verbose q/quiet h/help V/version
end

function __fish_secateur_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_secateur_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_secateur_using_subcommand
    set -l cmd (__fish_secateur_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c secateur -n "__fish_secateur_needs_command" -l policy -d 'Retention policy [default: /etc/secateur/policy.toml, else built in]' -r -F
complete -c secateur -n "__fish_secateur_needs_command" -l host -d 'Engine [default: $DOCKER_HOST, the docker context, the usual socket]' -r
complete -c secateur -n "__fish_secateur_needs_command" -l state-dir -d 'Where ledger and journal are kept [default: /var/lib/secateur]' -r -F
complete -c secateur -n "__fish_secateur_needs_command" -l format -d 'How the report is written' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c secateur -n "__fish_secateur_needs_command" -s v -l verbose -d 'Every image, with every reason'
complete -c secateur -n "__fish_secateur_needs_command" -s q -l quiet -d 'Nothing on stderr but errors'
complete -c secateur -n "__fish_secateur_needs_command" -s h -l help -d 'Print help'
complete -c secateur -n "__fish_secateur_needs_command" -s V -l version -d 'Print version'
complete -c secateur -n "__fish_secateur_needs_command" -f -a "plan" -d 'Show what would go, what stays, and why; changes nothing'
complete -c secateur -n "__fish_secateur_needs_command" -f -a "prune" -d 'Remove unneeded images, if the disk asks for it'
complete -c secateur -n "__fish_secateur_needs_command" -f -a "verify-cache" -d 'Prove that promised images are here, whole, and used'
complete -c secateur -n "__fish_secateur_using_subcommand plan" -l out -d 'Write the plan as JSON too, for `prune --plan`' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand plan" -l inventory -d 'Decide over a saved host instead of an engine' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand plan" -l save-inventory -d 'Save this host, with what is remembered of it' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand plan" -l explain -d 'One image\'s whole story: a name, an id, or the beginning of an id' -r
complete -c secateur -n "__fish_secateur_using_subcommand plan" -l policy -d 'Retention policy [default: /etc/secateur/policy.toml, else built in]' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand plan" -l host -d 'Engine [default: $DOCKER_HOST, the docker context, the usual socket]' -r
complete -c secateur -n "__fish_secateur_using_subcommand plan" -l state-dir -d 'Where ledger and journal are kept [default: /var/lib/secateur]' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand plan" -l format -d 'How the report is written' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c secateur -n "__fish_secateur_using_subcommand plan" -l trust-engine-dates -d 'As for prune: what it would remove'
complete -c secateur -n "__fish_secateur_using_subcommand plan" -s v -l verbose -d 'Every image, with every reason'
complete -c secateur -n "__fish_secateur_using_subcommand plan" -s q -l quiet -d 'Nothing on stderr but errors'
complete -c secateur -n "__fish_secateur_using_subcommand plan" -s h -l help -d 'Print help'
complete -c secateur -n "__fish_secateur_using_subcommand prune" -l plan -d 'Remove at most what this reviewed plan names' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand prune" -l max-plan-age -d 'How old a reviewed plan may be' -r
complete -c secateur -n "__fish_secateur_using_subcommand prune" -l metrics -d 'Write numbers for node_exporter\'s textfile collector: a .prom file' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand prune" -l policy -d 'Retention policy [default: /etc/secateur/policy.toml, else built in]' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand prune" -l host -d 'Engine [default: $DOCKER_HOST, the docker context, the usual socket]' -r
complete -c secateur -n "__fish_secateur_using_subcommand prune" -l state-dir -d 'Where ledger and journal are kept [default: /var/lib/secateur]' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand prune" -l format -d 'How the report is written' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c secateur -n "__fish_secateur_using_subcommand prune" -l trust-engine-dates -d 'Believe the engine\'s dates for untagged images, without our own memory'
complete -c secateur -n "__fish_secateur_using_subcommand prune" -s v -l verbose -d 'Every image, with every reason'
complete -c secateur -n "__fish_secateur_using_subcommand prune" -s q -l quiet -d 'Nothing on stderr but errors'
complete -c secateur -n "__fish_secateur_using_subcommand prune" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l record -d 'Write down what is here now: all named images, or those IMAGEs' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l against -d 'Hold today against what was written down' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l user-config -d 'The docker folder of the user who deploys [default: as docker]' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l metrics -d 'Write numbers for node_exporter\'s textfile collector: a .prom file' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l policy -d 'Retention policy [default: /etc/secateur/policy.toml, else built in]' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l host -d 'Engine [default: $DOCKER_HOST, the docker context, the usual socket]' -r
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l state-dir -d 'Where ledger and journal are kept [default: /var/lib/secateur]' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l format -d 'How the report is written' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l registry -d 'Compare with the registry\'s digests, by uncounted requests (HEAD)'
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l redeploy -d 'Have the engine pull each image as a deploy does; none may be fetched'
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l follow -d 'With --redeploy: pull a tag that went on upstream, too'
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l deep -d 'Read every layer out of the engine and hash it'
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l strict -d 'What could not be looked at is a fault, too'
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -s v -l verbose -d 'Every image, with every reason'
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -s q -l quiet -d 'Nothing on stderr but errors'
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -s h -l help -d 'Print help'
