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

complete -c secateur -n "__fish_secateur_needs_command" -l policy -d 'Policy [default: /etc/secateur/policy.toml]' -r -F
complete -c secateur -n "__fish_secateur_needs_command" -l host -d 'Engine [default: as docker finds it]' -r
complete -c secateur -n "__fish_secateur_needs_command" -l state-dir -d 'State folder [default as root: /var/lib/secateur]' -r -F
complete -c secateur -n "__fish_secateur_needs_command" -l format -d 'How the report is written' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c secateur -n "__fish_secateur_needs_command" -s v -l verbose -d 'Every image, with every reason'
complete -c secateur -n "__fish_secateur_needs_command" -s q -l quiet -d 'A report of a few lines; log only errors'
complete -c secateur -n "__fish_secateur_needs_command" -s h -l help -d 'Print help'
complete -c secateur -n "__fish_secateur_needs_command" -s V -l version -d 'Print version'
complete -c secateur -n "__fish_secateur_needs_command" -f -a "plan" -d 'Show what would go, what stays, and why; changes nothing'
complete -c secateur -n "__fish_secateur_needs_command" -f -a "prune" -d 'Remove unneeded images, if the disk needs the space'
complete -c secateur -n "__fish_secateur_needs_command" -f -a "verify-cache" -d 'Check that the next deploy will find its images here'
complete -c secateur -n "__fish_secateur_using_subcommand plan" -l out -d 'Write the plan as JSON too, for `prune --plan`' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand plan" -l inventory -d 'Plan for a saved host instead of a live engine' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand plan" -l save-inventory -d 'Save this host and its ledger, for --inventory' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand plan" -l explain -d 'One image\'s story, by name, id or container' -r
complete -c secateur -n "__fish_secateur_using_subcommand plan" -l top -d 'List the N largest images that stay' -r
complete -c secateur -n "__fish_secateur_using_subcommand plan" -l policy -d 'Policy [default: /etc/secateur/policy.toml]' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand plan" -l host -d 'Engine [default: as docker finds it]' -r
complete -c secateur -n "__fish_secateur_using_subcommand plan" -l state-dir -d 'State folder [default as root: /var/lib/secateur]' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand plan" -l format -d 'How the report is written' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c secateur -n "__fish_secateur_using_subcommand plan" -l trust-engine-dates -d 'Show what prune --trust-engine-dates would remove'
complete -c secateur -n "__fish_secateur_using_subcommand plan" -s v -l verbose -d 'Every image, with every reason'
complete -c secateur -n "__fish_secateur_using_subcommand plan" -s q -l quiet -d 'A report of a few lines; log only errors'
complete -c secateur -n "__fish_secateur_using_subcommand plan" -s h -l help -d 'Print help'
complete -c secateur -n "__fish_secateur_using_subcommand prune" -l plan -d 'Remove at most what this reviewed plan names' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand prune" -l max-plan-age -d 'How old a reviewed plan may be' -r
complete -c secateur -n "__fish_secateur_using_subcommand prune" -l metrics -d 'Write metrics for node_exporter to this .prom file' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand prune" -l policy -d 'Policy [default: /etc/secateur/policy.toml]' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand prune" -l host -d 'Engine [default: as docker finds it]' -r
complete -c secateur -n "__fish_secateur_using_subcommand prune" -l state-dir -d 'State folder [default as root: /var/lib/secateur]' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand prune" -l format -d 'How the report is written' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c secateur -n "__fish_secateur_using_subcommand prune" -l trust-engine-dates -d 'Take untagged images\' age from the engine\'s dates'
complete -c secateur -n "__fish_secateur_using_subcommand prune" -s v -l verbose -d 'Every image, with every reason'
complete -c secateur -n "__fish_secateur_using_subcommand prune" -s q -l quiet -d 'A report of a few lines; log only errors'
complete -c secateur -n "__fish_secateur_using_subcommand prune" -s h -l help -d 'Print help'
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l record -d 'Write what is here now to FILE, for --against' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l against -d 'Check that what FILE recorded is still here' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l archive -d 'The archive of this run [default: archive.dir]' -r -f -a "(__fish_complete_directories)"
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l user-config -d 'The deploying user\'s ~/.docker [default: yours]' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l metrics -d 'Write metrics for node_exporter to this .prom file' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l policy -d 'Policy [default: /etc/secateur/policy.toml]' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l host -d 'Engine [default: as docker finds it]' -r
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l state-dir -d 'State folder [default as root: /var/lib/secateur]' -r -F
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l format -d 'How the report is written' -r -f -a "text\t'For people'
json\t'For programs'"
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l registry -d 'Compare with registry digests (HEAD, not counted)'
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l redeploy -d 'Pull as a deploy does; broken if anything is fetched'
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l restore -d 'Bring back what is promised and not here'
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l follow -d 'With a pull of any kind: tags as they are upstream'
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l deep -d 'Hash every layer; with --save all of the archive, too'
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l save -d 'Write what is promised and here into the archive'
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l from-registry -d 'Save from registries; asks no engine, needs no root'
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -l strict -d 'Treat "unknown" as broken'
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -s v -l verbose -d 'Every image, with every reason'
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -s q -l quiet -d 'A report of a few lines; log only errors'
complete -c secateur -n "__fish_secateur_using_subcommand verify-cache" -s h -l help -d 'Print help'
