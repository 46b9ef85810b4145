# The last version goes, not one that is replaced.
if [ "$1" -eq 0 ]; then
    systemctl --no-reload disable --now tcp-backlog-probe.socket tcp-backlog-probe.service > /dev/null 2>&1 || :
fi
