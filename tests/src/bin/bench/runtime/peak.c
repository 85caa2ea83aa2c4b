// Runs a program and prints its peak resident memory in KiB, with that of the children it waited for (wait4(2)). The
// one who asks must be small itself: what it had before the execve counts as the program's.
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
  struct rusage usage;
  int status;
  pid_t pid;
  if (argc < 2) return 125;
  pid = fork();
  if (pid == 0) {
    execv(argv[1], argv + 1);
    _exit(125);
  }
  if (pid < 0 || wait4(pid, &status, 0, &usage) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) return 1;
  printf("peak %ld\n", usage.ru_maxrss);
  return 0;
}
