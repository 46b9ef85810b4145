#!/bin/busybox sh
# The first and only process of a lab machine: prepares what a Linux system has, runs the tests and
# switches off. Lines that begin with LAB: are read by xtask.

/bin/busybox mkdir -p /proc /sys /dev /tmp /run /bin
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp

# The console belongs to the kernel; the tests have a serial line of their own.
exec < /dev/null > /dev/ttyS1 2>&1
echo "LAB: kernel $(uname -r)"

mount_or_say() {
    mkdir -p "$3"
    mount -t "$1" "$2" "$3" || echo "LAB: no $1 on $3"
}
mount_or_say tracefs tracefs /sys/kernel/tracing
mount_or_say tmpfs tmpfs /tmp
mount_or_say tmpfs tmpfs /run
mount_or_say bpf bpf /sys/fs/bpf
mount_or_say cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
for module in /modules/*; do
    case "$module" in
    *.xz) unxz "$module" && module="${module%.xz}" ;;
    esac
    insmod "$module" || echo "LAB: no $module"
done

cd /tmp
/run-tests
echo "LAB: exit $?"

# The serial line is read by the host at its own pace: let it go out before the power does.
sync
sleep 0.2
poweroff -f
