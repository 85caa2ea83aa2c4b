// The floor: what the kernel alone takes for the namespaces and mounts of runc's default configuration. No checks of
// anything, no cgroups, no state, no rights: no runtime can be faster than this.
#define _GNU_SOURCE
#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static void must(long result, const char *what) {
  if (result < 0) {
    perror(what);
    _exit(125);
  }
}

static void mnt(const char *source, const char *target, const char *type, unsigned long flags, const char *data) {
  must(mount(source, target, type, flags, data), target);
}

// The view of the cgroups: each v1 hierarchy in a tmpfs, read-only, or v2 as it is.
static void cgroups(const char *target) {
  const unsigned long flags = MS_NOSUID | MS_NOEXEC | MS_NODEV;
  DIR *hierarchies = opendir("/sys/fs/cgroup");
  struct dirent *entry;
  char from[512], to[512];
  if (access("/sys/fs/cgroup/cgroup.procs", F_OK) == 0) {
    mnt("cgroup", target, "cgroup2", flags | MS_RDONLY, NULL);
    return;
  }
  mnt("tmpfs", target, "tmpfs", flags, "mode=755");
  while ((entry = readdir(hierarchies)) != NULL) {
    if (entry->d_type != DT_DIR || entry->d_name[0] == '.' || strcmp(entry->d_name, "unified") == 0) continue;
    snprintf(from, sizeof from, "/sys/fs/cgroup/%s", entry->d_name);
    snprintf(to, sizeof to, "%s/%s", target, entry->d_name);
    must(mkdir(to, 0755), to);
    mnt(from, to, NULL, MS_BIND, NULL);
    mnt(NULL, to, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | flags, NULL);
  }
  mnt(NULL, target, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | flags, NULL);
  closedir(hierarchies);
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: floor ROOTFS PROGRAM\n");
    return 125;
  }
  pid_t pid = syscall(SYS_clone, CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0);
  must(pid, "clone");
  if (pid > 0) {
    int status;
    must(waitpid(pid, &status, 0), "wait");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  const char *root = argv[1];
  mnt(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL);
  mnt(root, root, NULL, MS_BIND | MS_REC, NULL);
  must(chdir(root), "chdir");
  must(sethostname("floor", 5), "sethostname");
  umask(0);
  mnt("proc", "proc", "proc", 0, NULL);
  mnt("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k");
  must(mkdir("dev/pts", 0755), "pts");
  must(mkdir("dev/shm", 0755), "shm");
  must(mkdir("dev/mqueue", 0755), "mqueue");
  mnt("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5");
  mnt("shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, "mode=1777,size=65536k");
  mnt("mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL);
  mnt("sysfs", "sys", "sysfs", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY, NULL);
  cgroups("sys/fs/cgroup");
  static const struct { const char *name; int minor; } devices[] = {
      {"dev/null", 3}, {"dev/zero", 5}, {"dev/full", 7}, {"dev/random", 8}, {"dev/urandom", 9}};
  for (int i = 0; i < 5; i++) must(mknod(devices[i].name, S_IFCHR | 0666, makedev(1, devices[i].minor)), "mknod");
  must(mknod("dev/tty", S_IFCHR | 0666, makedev(5, 0)), "mknod");
  static const char *masked[] = {"proc/keys", "proc/timer_list"};
  for (int i = 0; i < 2; i++)
    if (access(masked[i], F_OK) == 0) mnt("dev/null", masked[i], NULL, MS_BIND, NULL);
  static const char *empty[] = {"proc/acpi", "sys/firmware"};
  for (int i = 0; i < 2; i++)
    if (access(empty[i], F_OK) == 0) mnt("tmpfs", empty[i], "tmpfs", MS_RDONLY, "nr_blocks=1,nr_inodes=1");
  static const char *readonly[] = {"proc/bus", "proc/fs", "proc/irq", "proc/sys"};
  for (int i = 0; i < 4; i++) {
    mnt(readonly[i], readonly[i], NULL, MS_BIND | MS_REC, NULL);
    mnt(NULL, readonly[i], NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL);
  }
  must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
  must(umount2(".", MNT_DETACH), "umount");
  must(chdir("/"), "chdir");
  mnt(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL);
  execv(argv[2], argv + 2);
  must(-1, "exec");
}
