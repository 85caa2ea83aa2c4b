#!/bin/busybox sh
# The first program in the machine of machine-tcg.sh: from the initial file system to the host's root, below which
# nothing can be changed, with a layer of memory above it that takes what is written.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for word in $(cat /proc/cmdline); do
  case $word in
    machine.init=*) init=${word#*=} ;;
    machine.cgroup=*) cgroup=${word#*=} ;;
    machine.modules=*) modules=${word#*=} ;;
    machine.share=*) share=${word#*=} ;;
  esac
done
for module in /modules/*.ko; do insmod "$module"; done

p9=trans=virtio,version=9p2000.L,msize=512000
mount -t 9p -o $p9,cache=loose,ro root /host
mount -t tmpfs tmpfs /writable
mkdir /writable/upper /writable/work
mount -t overlay -o lowerdir=/host,upperdir=/writable/upper,workdir=/writable/work overlay /root
mount -t tmpfs -o mode=1777 tmpfs /root/tmp
mount -t tmpfs -o mode=1777 tmpfs /root/var/tmp
mount -t tmpfs -o mode=755 tmpfs /root/run
# An overlay cannot be the upper layer of another one, which is what container engines make here.
for directory in containers containerd docker; do
  mkdir -p /root/var/lib/$directory
  mount -t tmpfs -o mode=755 tmpfs /root/var/lib/$directory
done
mkdir /root/run/machine /root/run/lock
mount -t 9p -o $p9,access=any machine /root/run/machine
if [ -n "$share" ]; then
  mkdir -p "/root$share"
  mount -t 9p -o $p9,access=any share "/root$share"
fi
# Modules on demand, also where the host has no kmod.
rm -rf /root/usr/lib/modules
ln -s "$modules" /root/usr/lib/modules
if [ ! -e /root/sbin/modprobe ]; then
  cp /bin/busybox /root/usr/sbin/modprobe
fi
# By this file systemd takes the machine for a container, which has no kernel command line of its own.
rm -f /root/.dockerenv
ifconfig lo up
hostname machine

cat > /root/run/machine-command <<'END'
#!/bin/bash
# The command's output goes to the second serial line, as it is.
exec </dev/null >/dev/ttyS1 2>&1
stty -F /dev/ttyS1 raw -echo
bash /run/machine/command
status=$?
echo "$status" >/run/machine/status.new
mv /run/machine/status.new /run/machine/status
# The serial line is slower than the shutdown.
stty -F /dev/ttyS1 -echo drain 2>/dev/null || true
exec >/dev/null 2>&1
sync
echo o >/proc/sysrq-trigger
sleep 60
END

if [ "$init" = systemd ]; then
  units=/root/run/systemd/system
  mkdir -p $units/dbus.socket.d $units/dbus.service.d
  # Only what the command needs is started; the rest of the host's services stay out of it.
  printf '[Unit]\nDefaultDependencies=no\n' | tee $units/dbus.socket.d/machine.conf > $units/dbus.service.d/machine.conf
  cat > $units/machine.target <<'END'
[Unit]
DefaultDependencies=no
Wants=machine.service
END
  cat > $units/machine.service <<'END'
[Unit]
DefaultDependencies=no
Requires=dbus.socket
After=dbus.socket
[Service]
ExecStart=/bin/bash /run/machine-command
Delegate=yes
LimitMEMLOCK=infinity
END
  mount --move /dev /root/dev
  umount /proc /sys
  exec switch_root /root /lib/systemd/systemd
fi

cat > /root/run/machine-first <<'END'
#!/bin/bash
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t securityfs securityfs /sys/kernel/security
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t mqueue mqueue /dev/mqueue
ln -sf /proc/self/fd /dev/fd
case $1 in
  v2) mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup ;;
  *)
    mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
    mkdir /sys/fs/cgroup/systemd
    mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
    if [ "$1" = hybrid ]; then
      mkdir /sys/fs/cgroup/unified
      mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup/unified
    fi
    for controllers in cpuset cpu,cpuacct blkio memory devices freezer net_cls,net_prio perf_event hugetlb pids rdma misc; do
      mkdir "/sys/fs/cgroup/$controllers"
      mount -t cgroup -o "$controllers" cgroup "/sys/fs/cgroup/$controllers" || rmdir "/sys/fs/cgroup/$controllers"
    done
    ;;
esac
bash /run/machine-command &
# Reap whatever is left to the first process until the machine is switched off.
while :; do wait -n || sleep 0.1; done
END
mount --move /dev /root/dev
umount /proc /sys
exec switch_root /root /bin/bash /run/machine-first "$cgroup"
