#!/usr/bin/env bash
# Process 1 of a node: node-init.sh ROOT NAME, started by unshare. Builds the node's view of the file system out of ROOT,
# then waits for ever and adopts orphans. All mounts made here are seen by this namespace only and go away with it.
set -euo pipefail
root=$1
name=$2

mount --make-rprivate /
mount --bind "$root" "$root"

share() {
    mount --rbind "$1" "$root$1"
    mount -o remount,bind,ro "$root$1"
}
share /usr
for dir in /bin /sbin /lib*; do
    [ -L "$dir" ] || share "$dir"
done

mount --rbind /dev "$root/dev"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
# A sysfs mounted here shows the interfaces of this network namespace.
mount -t sysfs -o nosuid,nodev,noexec sysfs "$root/sys"

# Engines need a writable cgroup tree. Take the one in use; where there is none, or a container hides it, mount our own.
cgroups="$root/sys/fs/cgroup"
if mountpoint -q /sys/fs/cgroup && [ -w /sys/fs/cgroup ]; then
    mount --rbind /sys/fs/cgroup "$cgroups"
else
    mount -t cgroup2 cgroup2 "$cgroups"
fi
# In a container the top of a version 2 tree is an ordinary group (it has a type), whose controllers cannot be passed down
# while processes sit in it: move those into a group beside the engines' ones, as Docker's own docker-in-docker image does.
if [ -e "$cgroups/cgroup.type" ] && [ -n "$(cat "$cgroups/cgroup.procs")" ]; then
    mkdir -p "$cgroups/init"
    while read -r pid; do
        echo "$pid" >"$cgroups/init/cgroup.procs" 2>/dev/null || :
    done <"$cgroups/cgroup.procs"
    read -ra controllers <"$cgroups/cgroup.controllers"
    for controller in "${controllers[@]}"; do
        echo "+$controller" >"$cgroups/cgroup.subtree_control" 2>/dev/null || :
    done
fi

cd "$root"
mkdir -p mnt/old
pivot_root . mnt/old
umount -l /mnt/old
rmdir /mnt/old
cd /

echo "$name" >/proc/sys/kernel/hostname
ip link set lo up
: >/run/node-ready

# Bash reaps what it adopts as soon as it hears of it.
while :; do
    sleep 86400 &
    wait
done
