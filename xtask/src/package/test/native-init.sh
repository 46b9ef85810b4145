# Started in namespaces of its own, in the folder of the system: what a container's manager does, then systemd.
set -e
mount --make-rprivate /
mount --bind . .
cd "$PWD"
mkdir -p proc sys dev run tmp old
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
for folder in dev run tmp; do
    mount -t tmpfs tmpfs "$folder"
done
mkdir dev/pts dev/shm
while read -r name major minor; do
    mknod -m 666 "dev/$name" c "$major" "$minor"
done << END
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0
END
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
pivot_root . old
umount -l /old
rmdir /old
exec env -i container=lab PATH=/usr/sbin:/usr/bin TERM=dumb /lib/systemd/systemd --log-target=journal
