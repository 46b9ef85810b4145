#!/bin/sh
# What is asked of the package, on a Debian system that is the package's alone. Started by systemd; it writes as Rust's
# tests do, which xtask reads. Its surroundings are in variables: PATIENCE (seconds until a condition must hold), HAS_LIMITS
# (whether there are cgroup controllers), HAS_KERNEL (whether all BPF programs of the kernel are this system's).

unit=tcp-backlog-probe.service
configuration=/etc/tcp-backlog-probe/config.toml
drop_ins=/run/systemd/system/$unit.d
passed=0
failed=0

# Runs a function named after the test; what it says is shown only if it fails.
trial() {
    [ ! -f "$configuration" ] || cp -p "$configuration" /tmp/kept.toml
    # Not as a condition: a shell in a condition goes on after a failure.
    (set -e; "$1") > /tmp/said 2>&1
    if [ $? -eq 0 ]; then
        passed=$((passed + 1))
        echo "test package::$1 ... ok"
    else
        failed=$((failed + 1))
        echo "test package::$1 ... FAILED"
        sed 's/^/    | /' /tmp/said | tail -n 40
        journalctl --unit "$unit" --no-pager --output cat --lines 15 2> /dev/null | cut -c 1-400 | sed 's/^/    journal| /'
        # The next one shall not fail for this one's reason.
        [ ! -f "$configuration" ] || cp -p /tmp/kept.toml "$configuration"
        without_drop_ins
        systemctl reset-failed "$unit"
        systemctl start --no-block "$unit"
    fi
}

uptime_milliseconds() {
    awk '{ printf "%d", $1 * 1000 }' /proc/uptime
}

# Waits until a command succeeds.
wait_until() {
    end=$(($(uptime_milliseconds) + PATIENCE * 1000))
    until "$@" > /tmp/waited 2>&1; do
        if [ "$(uptime_milliseconds)" -gt "$end" ]; then
            echo "not within $PATIENCE s: $*"
            cat /tmp/waited
            return 1
        fi
        sleep 0.1
    done
}

# `!` at the begin of a command is no reason for the shell to give up; this is.
not() {
    if "$@"; then
        echo "has not failed: $*"
        return 1
    fi
}

property() {
    systemctl show "$unit" --property "$1" --value
}

is() {
    found=$(property "$1")
    [ "$found" = "$2" ] || { echo "$1 is $found and not $2"; return 1; }
}

is_active() { is ActiveState active && is SubState running; }
is_failed() { is ActiveState failed; }
is_waiting_for_a_restart() { is SubState auto-restart; }

get() {
    perl /lab/net.pl get "$1"
}

# What the daemon has said since `forget`; $1 are words of the one line that is expected.
all_said() {
    journalctl --sync
    journalctl --unit "$unit" --no-pager --output cat
}
forget() {
    known=$(all_said | wc -l)
}
says() {
    all_said | tail -n "+$((known + 1))" > /tmp/log
    grep -F -e "$1" /tmp/log
}
says_once() {
    says "$1" && [ "$(grep -c -F -e "$1" /tmp/log)" -eq 1 ]
}

# A drop-in of this test alone.
with() {
    mkdir -p "$drop_ins"
    printf '[Service]\n%s\n' "$1" > "$drop_ins/test.conf"
    systemctl daemon-reload
}
without_drop_ins() {
    rm -rf "$drop_ins"
    systemctl daemon-reload
}

# Not a restart: what systemd keeps over one would be taken over.
afresh() {
    systemctl reset-failed "$unit" || true
    systemctl stop "$unit"
    systemctl start "$unit"
    wait_until is_active
}

figure() {
    echo "figure: $1"
}

# --- Installed, and at work ---

it_is_installed_into_a_clean_system() {
    dpkg --install /lab/first.deb
    [ -z "$(dpkg --audit)" ]
    /usr/bin/tcp-backlog-probe config check
}

it_starts_by_itself_and_at_every_boot() {
    wait_until is_active
    is Type notify
    [ "$(systemctl is-enabled "$unit")" = enabled ]
}

it_runs_as_nobody_in_particular_and_keeps_no_capability() {
    pid=$(property MainPID)
    [ "$(stat --format %U "/proc/$pid")" = tcp-backlog-probe ]
    grep -h -E '^Cap(Inh|Prm|Eff|Amb):' /proc/"$pid"/task/*/status | sort -u
    grep -h -E '^Cap(Inh|Prm|Eff|Amb):' /proc/"$pid"/task/*/status > /tmp/sets
    not grep -v '0000000000000000$' /tmp/sets
}

its_exposure_is_at_most_two() {
    systemd-analyze security --no-pager "$unit" | tail -n 1
    systemd-analyze security --no-pager --threshold 20 "$unit" > /dev/null
}

it_can_be_asked() {
    get /healthz | grep -q '200 OK'
    get /readyz | grep -q '200 OK'
    get /metrics | grep -q '^tcp_backlog_hook_info'
}

counted() {
    get /metrics | awk '/^tcp_backlog_accept_queue_overflows_total/ && /port="18080"/ { sum += $2 } END { print sum + 0 }'
}
of_the_kernel() {
    awk '$1 == "TcpExt:" && !head { split($0, names); head = 1; next }
         $1 == "TcpExt:" { for (i = 2; i <= NF; i++) if (names[i] == "ListenOverflows") print $i }' /proc/net/netstat
}
# Where only tracepoints can be had, overflows of a listener that closes while nobody looks may be nobody's: it says so.
with_nobodys() {
    get /metrics | awk '/^tcp_backlog_accept_queue_overflows_total/ && /port="18080"/ { sum += $2 }
                        /^tcp_backlog_netns_unattributed_overflows_total/ { sum += $2 }
                        END { print sum + 0 }'
}
# What the kernel had counted before the hooks were attached.
earlier=0
note_what_was_earlier() {
    before=$(of_the_kernel)
    earlier=$((before - $(with_nobodys)))
    [ "$before" -eq "$(of_the_kernel)" ]
}
both_agree() {
    before=$(of_the_kernel)
    seen=$(with_nobodys)
    echo "the daemon counted $seen, the kernel $before, $earlier of it earlier"
    [ "$seen" -ge 7 ] && [ "$((before - earlier))" -eq "$seen" ] && [ "$before" -eq "$(of_the_kernel)" ]
}
an_overflow_is_counted_as_the_kernel_does() {
    # Five of twelve connections fit.
    systemd-run --unit overflow --quiet perl /lab/net.pl overflow 18080
    wait_until both_agree
}

doctor_says_what_is_wrong() {
    code=0
    tcp-backlog-probe doctor --port 18080 || code=$?
    [ "$code" -eq 2 ]
}

# Its drop-ins as they are given away: whose a port is, and a port in another network namespace.
names_the_owner() { get /metrics | grep '^tcp_backlog_listeners{.*port="18080",process="perl"'; }
sees_the_other_namespace() { get /metrics | grep '^tcp_backlog_listeners{.*port="18081"'; }
drop_ins_show_owners_and_other_namespaces() {
    systemd-run --unit elsewhere --quiet --property PrivateNetwork=yes perl /lab/net.pl listen 18081
    not names_the_owner
    not sees_the_other_namespace
    mkdir -p "$drop_ins"
    cp /usr/share/tcp-backlog-probe/systemd/*.conf "$drop_ins"
    systemctl daemon-reload
    afresh
    wait_until names_the_owner
    wait_until sees_the_other_namespace
    systemctl stop elsewhere
    without_drop_ins
    afresh
}

# --- Changed while it runs ---

limit_is() { tcp-backlog-probe config show | grep -q "limit = $1"; }

a_reload_takes_over_a_change() {
    forget
    pid=$(property MainPID)
    sed -i 's/^#limit = .*/limit = 7/' "$configuration"
    limit_is 7
    systemctl reload "$unit"
    wait_until says "ports.limit"
    is MainPID "$pid"
    is_active
}

a_reload_of_nonsense_changes_nothing() {
    forget
    pid=$(property MainPID)
    echo 'nonsense' >> "$configuration"
    systemctl reload "$unit"
    wait_until says_once "$configuration, line"
    is MainPID "$pid"
    cp /tmp/kept.toml "$configuration"
    is_active
}

it_comes_back_after_a_kill_and_has_lost_no_count() {
    forget
    pid=$(property MainPID)
    until note_what_was_earlier; do :; done
    kernel=$(of_the_kernel)
    kill -9 "$pid"
    # Nobody runs for as long as RestartSec= says; what systemd keeps goes on counting.
    systemctl restart overflow.service
    wait_until is NRestarts 1
    wait_until is_active
    not is MainPID "$pid"
    get /readyz | grep -q '200 OK'
    [ "$(of_the_kernel)" -gt "$kernel" ]
    wait_until both_agree
    says "went on with the hooks"
}

it_comes_back_when_it_hangs() {
    with 'WatchdogSec=2'
    afresh
    pid=$(property MainPID)
    kill -STOP "$pid"
    wait_until is NRestarts 1
    without_drop_ins
    wait_until is_active
}

# The port is systemd's: whoever asks while there is no daemon is answered by the next one.
systemd_can_hold_the_port() {
    systemctl stop "$unit"
    systemctl start tcp-backlog-probe.socket
    get /readyz | grep -q '200 OK'
    wait_until is_active
    pid=$(property MainPID)
    ss_inode=$(awk '$2 ~ /:290F$/ && $4 == "0A" { print $10 }' /proc/net/tcp)
    ls -l "/proc/1/fd" | grep -q "socket:.$ss_inode."
    systemctl stop tcp-backlog-probe.socket "$unit"
    afresh
}

an_upgrade_restarts_it_and_keeps_the_configuration_and_the_counts() {
    forget
    # The tests before this one have stopped it: something has to be there to be kept.
    systemctl restart overflow.service
    wait_until counted_again
    kept=$(counted)
    before=$(property MainPID)
    cp "$configuration" /tmp/before.toml
    dpkg --install /lab/second.deb
    cmp "$configuration" /tmp/before.toml
    wait_until is_active
    not is MainPID "$before"
    [ "$(dpkg-query --show --showformat '${Version}' tcp-backlog-probe)" != "$FIRST_VERSION" ]
    says "went on with the hooks"
    echo "counted $kept before and $(counted) after"
    [ "$(counted)" -ge "$kept" ]
}

a_service_that_was_disabled_stays_so_over_an_upgrade() {
    systemctl disable "$unit"
    dpkg --install /lab/second.deb
    [ "$(systemctl is-enabled "$unit" || true)" = disabled ]
    systemctl enable "$unit"
}

# --- Bad days: one line that says what to do, and systemd knows what to make of it ---

a_wrong_configuration_is_not_tried_for_ever() {
    forget
    echo '[ports' >> "$configuration"
    not systemctl restart "$unit"
    is_failed
    is ExecMainStatus 78
    is NRestarts 0
    says_once "$configuration, line"
    not systemctl status "$unit" --no-pager --full > /tmp/status
    grep -F "status=78/CONFIG" /tmp/status
    grep -F "$configuration, line" /tmp/status
    cp /tmp/kept.toml "$configuration"
    afresh
}

a_configuration_that_may_not_be_read_is_named() {
    forget
    chmod 000 "$configuration"
    not systemctl restart "$unit"
    chmod 644 "$configuration"
    is ExecMainStatus 78
    says_once "$configuration: cannot be read (Permission denied"
    afresh
}

a_port_that_is_taken_is_waited_for() {
    forget
    systemctl stop "$unit"
    systemd-run --unit occupier --quiet perl /lab/net.pl listen 10511
    wait_until perl /lab/net.pl is-taken 10511
    not systemctl start "$unit"
    wait_until is_waiting_for_a_restart
    is ExecMainStatus 1
    says "cannot listen on 127.0.0.1:10511"
    says "--listen"
    systemctl stop occupier
    wait_until is_active
}

a_user_without_capabilities_is_told() {
    forget
    with 'AmbientCapabilities='
    not systemctl restart "$unit"
    systemctl stop "$unit"
    without_drop_ins
    says_once "CAP_BPF and CAP_PERFMON"
    is ExecMainStatus 1
    afresh
}

without_the_kernels_types_sockets_are_still_read() {
    forget
    mount -t tmpfs none /sys/kernel/btf
    code=0
    afresh || code=$?
    umount /sys/kernel/btf
    [ "$code" -eq 0 ]
    says "/sys/kernel/btf/vmlinux"
    get /metrics | grep -q '^tcp_backlog_listeners'
    afresh
}

a_full_disk_costs_the_state_only() {
    forget
    systemctl stop "$unit"
    mount -t tmpfs -o size=4k,nr_inodes=3 none /var/lib/tcp-backlog-probe
    dd if=/dev/zero of=/var/lib/tcp-backlog-probe/full bs=4k count=1
    code=0
    # It has something to save once connections were lost.
    afresh && get /metrics > /dev/null && systemctl restart overflow.service || code=$?
    wait_until counted_again || code=$?
    systemctl stop "$unit" || code=$?
    umount /var/lib/tcp-backlog-probe
    is Result success
    afresh
    [ "$code" -eq 0 ]
    # Demands are only known where functions of the kernel can be watched.
    [ "$HAS_KERNEL" = no ] || says_once "the state cannot be saved"
}
counted_again() { [ "$(counted)" -gt 0 ]; }

# --- How much it may cost ---

group=/sys/fs/cgroup/system.slice/$unit

limits_are_in_force() {
    grep -x 536870912 "$group/memory.max"
    grep -x '100000 100000' "$group/cpu.max"
    grep -x 64 "$group/pids.max"
}

it_lives_with_a_fifth_of_a_processor() {
    with 'CPUQuota=20%
MemoryMax=160M
TimeoutStartSec=600'
    afresh
    get /readyz | grep -q '200 OK'
    wait_until grep -E '^nr_throttled [1-9]' "$group/cpu.stat"
    not grep -E '^oom_kill [1-9]' "$group/memory.events"
    without_drop_ins
    afresh
}

# --- Gone ---

programs_and_maps() {
    perl /lab/net.pl bpf
}

it_is_removed_but_for_configuration_and_state() {
    dpkg --remove tcp-backlog-probe
    [ -f "$configuration" ]
    [ -d /var/lib/tcp-backlog-probe ]
    not pgrep_daemon
    [ ! -e "/lib/systemd/system/$unit" ]
}
pgrep_daemon() { grep -l tcp-backlog-pro /proc/[0-9]*/comm; }

it_is_installed_again_with_its_old_configuration() {
    dpkg --install /lab/second.deb
    limit_is 7
    wait_until is_active
}

nothing_is_left_when_it_is_purged() {
    dpkg --purge tcp-backlog-probe
    not pgrep_daemon
    not getent passwd tcp-backlog-probe
    not getent group tcp-backlog-probe
    find / -xdev -name '*tcp-backlog-probe*' -not -path '/lab/*' -not -path '/proc/*' > /tmp/left
    cat /tmp/left
    [ ! -s /tmp/left ]
    systemctl list-unit-files --no-pager > /tmp/units
    not grep tcp-backlog-probe /tmp/units
}

no_program_is_left_in_the_kernel() {
    wait_until is_as_before
}
is_as_before() {
    after=$(programs_and_maps)
    echo "before: $before_it_came; after: $after"
    [ "$after" = "$before_it_came" ]
}

start_up_figure() {
    from=$(property InactiveExitTimestampMonotonic)
    to=$(property ActiveEnterTimestampMonotonic)
    figure "$(((to - from) / 1000)) ms from start to active, of $1"
}

kept_by_hand="it_is_installed_into_a_clean_system it_starts_by_itself_and_at_every_boot
it_runs_as_nobody_in_particular_and_keeps_no_capability its_exposure_is_at_most_two it_can_be_asked
an_overflow_is_counted_as_the_kernel_does doctor_says_what_is_wrong drop_ins_show_owners_and_other_namespaces
a_reload_takes_over_a_change
a_reload_of_nonsense_changes_nothing it_comes_back_after_a_kill_and_has_lost_no_count it_comes_back_when_it_hangs systemd_can_hold_the_port
an_upgrade_restarts_it_and_keeps_the_configuration_and_the_counts a_service_that_was_disabled_stays_so_over_an_upgrade
a_wrong_configuration_is_not_tried_for_ever a_configuration_that_may_not_be_read_is_named
a_port_that_is_taken_is_waited_for a_user_without_capabilities_is_told
without_the_kernels_types_sockets_are_still_read a_full_disk_costs_the_state_only"
of_limits="limits_are_in_force it_lives_with_a_fifth_of_a_processor"
at_the_end="it_is_removed_but_for_configuration_and_state it_is_installed_again_with_its_old_configuration
nothing_is_left_when_it_is_purged"
of_the_kernels_own="no_program_is_left_in_the_kernel"

all=$kept_by_hand
[ "$HAS_LIMITS" = yes ] && all="$all $of_limits"
all="$all $at_the_end"
[ "$HAS_KERNEL" = yes ] && all="$all $of_the_kernels_own"

# shellcheck disable=SC2086
set -- $all
echo "running $# tests"
before_it_came=$(programs_and_maps)
for name in "$@"; do
    trial "$name"
    if [ "$name" = it_starts_by_itself_and_at_every_boot ]; then
        start_up_figure "$(uname -r)"
        figure "$(awk '/^VmHWM/ { print $2 " kB at most, " } /^VmRSS/ { print $2 " kB now" }' "/proc/$(property MainPID)/status" | tr -d '\n') of memory in the process"
        [ -f "$group/memory.peak" ] && figure "$(cat "$group/memory.peak") bytes at most in its cgroup, maps in the kernel included"
    fi
    [ "$name" = its_exposure_is_at_most_two ] && figure "$(tail -n 1 /tmp/said)"
done
[ "$failed" -eq 0 ] && word=ok || word=FAILED
echo "test result: $word. $passed passed; $failed failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s"
echo "LAB: exit $failed"
