#!/lab/busybox sh
# The first process of a machine whose system is systemd's: loads what the kernel lacks and becomes systemd.

busybox=/lab/busybox
for folder in proc sys dev run; do
    $busybox mkdir -p "/$folder"
done
$busybox mount -t devtmpfs devtmpfs /dev
for module in /lab/modules/*; do
    case "$module" in
    *.xz) $busybox unxz "$module" && module="${module%.xz}" ;;
    esac
    $busybox insmod "$module" || echo "LAB: no $module" > /dev/ttyS1
done
echo "LAB: kernel $($busybox uname -r)" > /dev/ttyS1
$busybox umount /dev
# The first root of a kernel cannot be changed (pivot_root), which a service's own mounts take: so it is seen through
# another mount.
$busybox mkdir -p /sysroot
$busybox mount -o bind / /sysroot
cd /sysroot || exit 1
$busybox mount -o move . /
exec $busybox chroot . /lib/systemd/systemd
