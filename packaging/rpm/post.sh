systemd-sysusers tcp-backlog-probe.conf || :
systemctl daemon-reload > /dev/null 2>&1 || :
# The first installation: what the distribution's presets say. Nothing is started, as is the custom there.
if [ "$1" -eq 1 ]; then
    systemctl --no-reload preset tcp-backlog-probe.service > /dev/null 2>&1 || :
fi
